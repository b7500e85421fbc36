"""The package as a zip file: unpacked once, into a folder that is the user's alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imgdedup_spark import caches, unpacked

ROOT = Path(__file__).parents[1]
WHERE = "import imgdedup_spark.errors as e, imgdedup_spark as p; print(p.__file__); print(e.__file__)"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return shutil.make_archive(str(tmp_path_factory.mktemp("zip") / "imgdedup_spark"), "zip", ROOT, "imgdedup_spark")


def imported(archive, **environment):
    """Where the package and a module of it come from, in a new process without the project's own environment."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", WHERE], env={**os.environ, "PYTHONPATH": str(archive), **environment},
        capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    package, module = done.stdout.split()
    assert package.startswith(str(archive))
    return Path(module)


def test_it_is_unpacked_once_by_what_is_in_it(archive, tmp_path):
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    with ThreadPoolExecutor(4) as pool:  # at once
        [first] = set(pool.map(lambda _: imported(archive, **cache), range(4)))
    assert first.parents[2] == tmp_path / "imgdedup" and first.is_file()
    assert (tmp_path / "imgdedup").stat().st_mode & 0o777 == 0o700
    copy = shutil.copy(archive, tmp_path / "other.zip")  # as Spark gives each run's another path
    assert imported(copy, **cache) == first
    assert [one.name for one in (tmp_path / "imgdedup").iterdir()] == [first.parents[1].name]


def test_another_content_is_another_folder_and_old_ones_go(tmp_path):
    cache, versions = {"XDG_CACHE_HOME": str(tmp_path / "cache")}, []
    for number in range(2):
        source = tmp_path / str(number)
        shutil.copytree(
            ROOT / "imgdedup_spark", source / "imgdedup_spark", ignore=shutil.ignore_patterns("__pycache__")
        )
        (source / "imgdedup_spark" / "errors.py").open("a").write(f"# {number}\n")
        versions.append(imported(shutil.make_archive(str(source), "zip", source, "imgdedup_spark"), **cache))
        if not number:
            os.utime(versions[0].parents[1], (0, time.time() - 61 * 86_400))
    assert versions[0] != versions[1] and not versions[0].exists() and versions[1].exists()


@pytest.mark.parametrize("what", ["writable by others", "a link"])
def test_nobody_elses_folder_is_trusted(archive, tmp_path, what):
    ours, cache = tmp_path / "cache" / "imgdedup", {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    ours.parent.mkdir()
    if what == "a link":
        (tmp_path / "elsewhere").mkdir()
        ours.symlink_to(tmp_path / "elsewhere")
    else:
        ours.mkdir()
        ours.chmod(0o777)
    (tmp_path / "tmp").mkdir()
    found = imported(archive, **cache, TMPDIR=str(tmp_path / "tmp"))
    assert found.parents[2] == tmp_path / "tmp" / f"imgdedup-{os.getuid()}"
    assert not list(ours.iterdir())


def test_without_a_place_it_is_read_as_it_lies(archive, tmp_path, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory")

    (tmp_path / "file").touch()
    monkeypatch.setattr(caches.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "below"))
    assert unpacked.unpacked(archive, "imgdedup_spark") is None
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(caches.Path, "home", homeless)
    assert unpacked.unpacked(archive, "imgdedup_spark") is None


def test_a_folder_that_has_lost_files_is_made_anew(archive, tmp_path):
    """As folders for temporary files do."""
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    module = imported(archive, **cache)
    (module.parent / "report" / "page.py").unlink()
    assert imported(archive, **cache) == module and (module.parent / "report" / "page.py").exists()
    assert [one.name for one in (tmp_path / "imgdedup").iterdir()] == [module.parents[1].name]
