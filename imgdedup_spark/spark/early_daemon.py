"""PySpark's daemon before Spark asks for one: it loads what workers will need while Java starts, with a core to spare.

Spark starts a program and speaks with it by pipes. Where a daemon is there already, that program hands its pipes, its
environment and its arguments over to it, and lives on as long as it does. Where there is none (any more), it becomes a
daemon itself.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

#: The variable that names the socket at which a daemon waits.
EARLY = "IMGDEDUP_EARLY_DAEMON"
_SIZE_BYTES = 8
_STREAMS = (0, 1, 2)


def start_early(module: str, variables: Mapping[str, str]) -> str:
    """Starts a program that will ``wait``, and ends with this process at the latest; returns where it waits.

    Args:
        module: which is called with the number of a listening socket.
        variables: of its environment, beside this process's own.

    Raises:
        OSError: it cannot be started.
    """
    folder = tempfile.mkdtemp(prefix="imgdedup-")  # nobody else may go in
    place = str(Path(folder, "daemon"))
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(place)
            listener.listen(1)
            number = listener.fileno()
            # It finds its end of the pipe closed when this process is gone, however it went.
            process = subprocess.Popen(
                [sys.executable, "-m", module, str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[number],
                env={**os.environ, **_as_spark_does(), **variables},
            )
    except OSError:  # of a path that is too long for a socket, for one
        shutil.rmtree(folder, ignore_errors=True)
        raise
    assert process.stdin is not None
    atexit.register(process.stdin.close)
    return place


def _as_spark_does() -> dict[str, str]:
    """What Spark tells its workers that is read when a process begins: of one core for each, and of one order of sets
    in all of them."""
    return {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", "0")}


def hand_over(place: str) -> bool:
    """Makes a daemon that waits there the one that Spark speaks with, and returns when that has ended; False if none
    takes over."""
    told = json.dumps({"environ": dict(os.environ), "argv": sys.argv}).encode()
    try:
        with socket.socket(socket.AF_UNIX) as way:
            way.connect(place)
            socket.send_fds(way, [len(told).to_bytes(_SIZE_BYTES, "big")], _STREAMS)
            way.sendall(told)
            taken = bool(way.recv(1))
            if taken:
                nowhere = os.open(os.devnull, os.O_RDWR)
                for stream in _STREAMS:
                    os.dup2(nowhere, stream)  # the daemon's are the only ones, and end with it
                way.recv(1)
            return taken
    except OSError:
        return False


def wait(number: int) -> socket.socket:
    """Waits to take over from a program that Spark has started; returns what must stay open as long as this does.

    Args:
        number: of the listening socket.

    Raises:
        SystemExit: the process that started this one is gone.
        OSError, ValueError: the program is gone.
    """
    with socket.socket(fileno=number) as listener:
        ready, _, _ = select.select([number, 0], [], [])
        shutil.rmtree(Path(listener.getsockname()).parent, ignore_errors=True)
        if number not in ready:
            raise SystemExit
        way, _ = listener.accept()
    size, streams, _, _ = socket.recv_fds(way, _SIZE_BYTES, len(_STREAMS))
    with way.makefile("rb") as file:
        told = json.loads(file.read(int.from_bytes(size, "big")))
    way.sendall(b"+")
    for stream, own in zip(streams, _STREAMS, strict=True):
        os.dup2(stream, own)
        os.close(stream)
    os.environ.clear()
    os.environ.update(told["environ"])
    sys.argv = told["argv"]
    sys.path += [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one and one not in sys.path]
    return way
