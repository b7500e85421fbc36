"""The commands of README and docs, run as they stand there, page by page, in a folder that has what they name.

In the test's own Spark; buckets are folders. test_docs.py looks at the options of those that are not run.
"""

from __future__ import annotations

import base64
import io
import json
import re
import runpy
import shlex
import shutil
import sys
import tarfile
from itertools import pairwise
from pathlib import Path

import conftest
import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
import pytest

from imgdedup_spark import cli

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(conftest.MODE != "classic" or pyspark.__version__.startswith("3."), reason="once is enough"),
]

ROOT = Path(__file__).parents[2]
PAGES = ("README", "advice", "clusters", "daily", "inputs", "leaks", "tar")
#: Not run: they need a model (tests/job/test_embeddings_job.py has such ones), the hub (tests/read/test_hub.py), or a
#: cluster.
NOT_HERE = ("--master", "--method clip --similarity", "--model", "conf/stages.yaml", "hf://")
#: Exit status, where it is not 0.
LEAKS_FOUND = 4


def commands(page: str) -> list[str]:
    """Those of ``imgdedup`` and ``spark-submit``, in order: of blocks, and of tables."""
    file = ROOT / "README.md" if page == "README" else ROOT / "docs" / f"{page}.md"
    text = file.read_text("utf-8")
    lines = [line for block in re.findall(r"```(?:sh|text)\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    lines += re.findall(r"^\|.*`(imgdedup [^`]*)` \|$", text, re.MULTILINE)
    # A comment begins with a space: an id may have the sign in it.
    found = [re.sub(r"\s#.*", "", line.removeprefix("$ ").strip()) for line in lines]
    started = [one for one in found if one.split(" ")[0] in ("imgdedup", "imgdedup-fingerprint", "spark-submit")]
    return [one for one in started if "…" not in one and not any(part in one for part in NOT_HERE)]


@pytest.fixture
def world(photos, tmp_path, monkeypatch):
    """A folder with all that the commands name: a few pictures each, some of them twice."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGDEDUP_DRIVER_ROWS", "1000000")
    for name in ("conf", "jobs"):
        (tmp_path / name).symlink_to(ROOT / name)
    a, b, c, d = (photos[letter] for letter in "ABCD")
    for folder in ("photos", "pictures", "data/pictures", "bucket/crawl"):
        pictures(tmp_path / folder, {"17.jpg": a, "18.jpg": b, "19.jpg": a})
    for folder in (
        "day",
        "train",
        "eval",
        "clean",
        "clean-a",
        "new-b",
        "new",
        "data/train",
        "data/test",
        "data/val",
        "bucket/bench",
    ):
        table(tmp_path / folder / "part.parquet", [a, b, a] if folder.endswith("train") else [c, d, c])
    table(tmp_path / "crawl" / "2026-11-21" / "part.parquet", [a, b, a])
    table(tmp_path / "crawl" / "2026-11-22" / "part.parquet", [c, a, d])
    for name in ("pairs", "train-0", "rows"):
        table(tmp_path / f"{name}.parquet", [a, b, a])
    table(tmp_path / "demo-data" / "input" / "part.parquet", [a, b, a])
    lists = pa.table({"images": [[a, b], [a, b], [c]]})
    pq.write_table(lists, tmp_path / "interleaved.parquet")
    paths = [{"image": f"{number}.jpg", "caption": "words"} for number in (17, 18, 19)]
    write_lines(tmp_path / "data" / "rows.jsonl", paths)
    write_lines(tmp_path / "rows.jsonl", [{"image": base64.b64encode(one).decode()} for one in (a, b, a)])
    (tmp_path / "rows.csv").write_text("file,caption\n17.jpg,one\n18.jpg,two\n19.jpg,three\n")
    for name, numbers in (("list", (17, 18)), ("more", (19,))):
        (tmp_path / f"{name}.txt").write_text("".join(f"{number}.jpg\n" for number in numbers))
    (tmp_path / "pairs.csv").write_text("a,b\n17.jpg#0,19.jpg#0\n")
    (tmp_path / "job.yaml").write_text("input: photos\noutput: out\noverwrite: true\n")
    (tmp_path / "shards").mkdir()
    for number in range(124):
        with tarfile.open(tmp_path / "shards" / f"{number:06d}.tar", "w") as shard:
            if number < 2:
                add(shard, f"{number}.jpg", a)
                add(shard, f"{number}.json", json.dumps({"caption": "words"}).encode())
    return tmp_path


def pictures(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def table(file: Path, images: list[bytes]) -> None:
    """With all columns that some command names."""
    file.parent.mkdir(parents=True, exist_ok=True)
    numbers = list(range(len(images)))
    ids = [f"{file.parent.name}-{number}" for number in numbers]
    columns = {"id": ids, "image": images, "jpeg": images, "caption": ["words"] * len(images)}
    columns |= {"product": [len(one) for one in images], "vector": [[1.0, float(len(one))] for one in images]}
    pq.write_table(pa.table(columns), file)


def write_lines(file: Path, rows: list[dict[str, str]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    shard.addfile(info, io.BytesIO(data))


def prepare(world: Path, arguments: list[str]) -> None:
    """What an earlier command has left is there, and where one writes anew there is nothing."""
    given = dict(pairwise(arguments))
    for page in world.glob("*.html"):
        page.unlink()
        page.with_suffix(".json").unlink(missing_ok=True)
    writes = arguments[0] not in ("explain", "apply") and "out/hashes" not in arguments
    if writes and given.get("--output"):
        shutil.rmtree(world / given["--output"], ignore_errors=True)
    if not writes:
        shutil.rmtree(world / "out", ignore_errors=True)
        assert cli.main(["--input", "photos", "--output", "out", "--quiet"]) == 0
    if arguments[0] == "apply":
        shutil.rmtree(world / given["--duplicates"], ignore_errors=True)
        shutil.copytree(world / "out" / "duplicates", world / given["--duplicates"])


def start(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit status of a command, of a script that spark-submit is given that of the script."""
    program, *arguments = shlex.split(command.replace("s3a://", "").replace("s3://", ""))
    if program == "imgdedup-fingerprint":
        return cli.fingerprint_main(arguments)
    if program == "imgdedup":
        return cli.main(arguments)
    at = next(number for number, one in enumerate(arguments) if one.startswith("jobs/"))
    return script(arguments[at], arguments[at + 1 :], monkeypatch)


def script(path: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", [path, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(path, run_name="__main__")
    return int(ended.value.code or 0)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.long
def test_the_commands_of(page, spark, world, monkeypatch, capfd):
    every = commands(page)
    assert every, page
    for command in every:
        prepare(world, shlex.split(command)[1:])
        status = start(command, monkeypatch)
        allowed = (0, LEAKS_FOUND) if "--fail-on-leak" in command else (0,)
        assert status in allowed, (command, capfd.readouterr().err[-2000:])


def test_every_script_of_jobs(spark, world, monkeypatch, capfd):
    prepare(world, ["explain"])
    lines = {
        "dedup": "--input photos --output other",
        "fingerprint": "--input photos --index seen",
        "advise": "--input photos",
        "apply": "--output out --duplicates out/duplicates",
        "evaluate": "--input photos --truth pairs.csv",
        "explain": "--output out 17.jpg#0",
        "leaks": "--train data/train --test data/test",
    }
    assert set(lines) == {one.stem for one in (ROOT / "jobs").glob("*.py")}
    for name, line in lines.items():
        assert script(f"jobs/{name}.py", line.split(), monkeypatch) == 0, (name, capfd.readouterr().err[-2000:])
