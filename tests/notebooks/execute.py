"""Executes notebooks/quickstart.ipynb with nbclient, and looks at what its cells show.

As a program it does so through Spark Connect, with the client that this Python has (``make test-notebook``):

python tests/notebooks/execute.py PYTHON

PYTHON has all of PySpark, and serves. The notebook runs in the Python that this program is run with, which has
``pyspark-client`` alone.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]


def execute(pictures: Path, results: Path, **environment: str) -> str:
    """Everything that the notebook shows, as text and HTML.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell has failed.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not kept in the repository"
    places = {"IMGDEDUP_PICTURES": str(pictures), "IMGDEDUP_RESULTS": str(results)}
    client = NotebookClient(notebook, timeout=540, kernel_name="python3")
    client.execute(cwd=str(ROOT), env={**os.environ, **environment, **places})
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(
        one.get("text", "") + one.get("data", {}).get("text/html", "")
        for one in outputs
        if one["output_type"] != "stream" or one["name"] == "stdout"
    )


def check(shown: str) -> None:
    """Counts, pairs and pictures are there."""
    assert "<th>dropped as duplicates</th>" in shown
    assert "near_hash" in shown and "kept: " in shown
    assert shown.count('<img src="data:image/jpeg;base64,') >= 8, shown[-3000:]
    assert " rows in, " in shown


def serve(python: str) -> tuple[subprocess.Popen[bytes], str]:
    """A Spark Connect server that imports the package; returns its address when it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = (
        "import sys, time\n"
        "from pyspark.sql.connect.session import SparkSession\n"
        f"options = {{'spark.connect.grpc.binding.port': '{port}', 'spark.ui.enabled': 'false'}}\n"
        "SparkSession._start_connect_server('local[2]', options)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": python}
    environment.pop("SPARK_REMOTE", None)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = subprocess.Popen([python, "-c", program], env=environment, **pipes)
    assert server.stdout is not None
    while server.stdout.readline() != b"ready\n":
        assert server.poll() is None, "the server has not started"
    return server, f"sc://localhost:{port}"


def main(python: str) -> None:
    assert find_spec("py4j") is None, "more than pyspark-client is here"
    with tempfile.TemporaryDirectory() as folder:
        pictures, results = Path(folder) / "in", Path(folder) / "out"
        subprocess.run([python, ROOT / "demo" / "make_data.py", pictures], check=True)
        # The server asks for it, and the client sends it.
        os.environ["SPARK_CONNECT_AUTHENTICATE_TOKEN"] = uuid.uuid4().hex
        started = time.monotonic()
        server, address = serve(python)
        try:
            shown = execute(pictures, results, SPARK_REMOTE=address, JAVA_HOME="/nowhere", PYTHONPATH=str(ROOT))
            check(shown)
        finally:
            server.terminate()
            server.wait(60)
        print(f"{shown.splitlines()[-1]}: {time.monotonic() - started:.0f} s, with pyspark-client alone")


if __name__ == "__main__":
    main(str(Path(sys.argv[1]).absolute()))
