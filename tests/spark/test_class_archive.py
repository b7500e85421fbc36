"""Java's archive of Spark's classes: when it is used, made, or left alone."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from conftest import ARCHIVE, MODE

from imgdedup_spark.spark import class_archive, session
from imgdedup_spark.spark.class_archive import archive_flags, make_later

WHOLE = b"\xa8\xab\x0b\xf0 and more"


@pytest.fixture
def started(monkeypatch):
    """What has been started."""
    found: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(class_archive.subprocess, "Popen", lambda command, env, **how: found.append((command, env)))
    return found


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache folder, and a Java 17."""
    home = java(tmp_path / "java", "17.0.15")
    monkeypatch.setenv("JAVA_HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("IMGDEDUP_CLASS_ARCHIVE", raising=False)
    return tmp_path / "cache" / "imgdedup"


def java(home: Path, version: str) -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").touch()
    (home / "release").write_text(f'IMPLEMENTOR="somebody"\nJAVA_VERSION="{version}"\n')
    (home / "lib" / "server").mkdir(parents=True)
    (home / "lib" / "server" / "classes.jsa").touch()
    return home


def test_it_is_made_once_and_then_used(cache, started):
    assert archive_flags("") == []
    make_later("")
    make_later("")
    ((command, environment),) = started
    assert command[1:] == ["-m", "imgdedup_spark.spark.class_archive"]
    path = Path(environment["IMGDEDUP_CLASS_ARCHIVE"])
    assert path.parent == cache and path.name.startswith("classes-")
    path.write_bytes(bytes(100))  # begun, and not written to its end
    assert archive_flags("") == []
    path.write_bytes(WHOLE)
    assert archive_flags("")[0] == f"-XX:SharedArchiveFile={path}"
    path.with_suffix(".begun").unlink()
    make_later("")
    assert len(started) == 1


def test_it_is_made_by_a_run_of_its_own(cache, started, monkeypatch):
    """On this machine, whatever cluster the user's runs go to; by this package, wherever it is from."""
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--master spark://there:7077 pyspark-shell")
    make_later("")
    environment = started[0][1]
    assert "spark.master=local[1]" in environment["PYSPARK_SUBMIT_ARGS"] and "7077" not in str(environment)
    package = Path(class_archive.__file__).parents[2]
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(package)


def test_who_was_kept_from_it_is_followed_by_another(cache, started):
    make_later("")
    begun = Path(started[0][1]["IMGDEDUP_CLASS_ARCHIVE"]).with_suffix(".begun")
    os.utime(begun, (0, time.time() - 3700))
    make_later("")
    make_later("")
    assert len(started) == 2


def test_another_java_has_another_one_and_old_ones_go(cache, started, monkeypatch, tmp_path):
    make_later("")
    first = Path(started[0][1]["IMGDEDUP_CLASS_ARCHIVE"])
    first.write_bytes(WHOLE)
    os.utime(first, (0, time.time() - 61 * 86_400))
    monkeypatch.setenv("JAVA_HOME", str(java(tmp_path / "newer", "21.0.1")))
    assert archive_flags("") == []
    make_later("")
    assert started[1][1]["IMGDEDUP_CLASS_ARCHIVE"] != str(first) and not first.exists()


@pytest.mark.parametrize("given", ["-Xshare:off", "-XX:SharedArchiveFile=a.jsa", "-XX:ArchiveClassesAtExit=a.jsa"])
def test_what_the_user_says_of_archives_counts(cache, started, monkeypatch, tmp_path, given):
    own = tmp_path / "own.jsa"
    monkeypatch.setenv("IMGDEDUP_CLASS_ARCHIVE", str(own))
    assert archive_flags("-Xmx1g")[0] == f"-XX:ArchiveClassesAtExit={own}"
    assert archive_flags(given) == []
    own.write_bytes(WHOLE)
    assert archive_flags("-Xmx1g")[0] == f"-XX:SharedArchiveFile={own}"
    own.write_bytes(b"\xa2\xab\x0b\xf0 of another kind")
    assert archive_flags("") == []
    monkeypatch.setenv("IMGDEDUP_CLASS_ARCHIVE", "off")
    assert archive_flags("") == []
    make_later("")
    assert not started


@pytest.mark.parametrize("what", ["java 11", "no java", "no archive of its own", "a space"])
def test_where_there_can_be_none(cache, started, monkeypatch, tmp_path, what):
    if what == "java 11":
        monkeypatch.setenv("JAVA_HOME", str(java(tmp_path / "old", "11.0.2")))
    elif what == "no java":
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    elif what == "a space":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a b"))
    else:
        (tmp_path / "java" / "lib" / "server" / "classes.jsa").unlink()
    assert archive_flags("") == []
    make_later("")
    assert not started


@pytest.mark.parametrize(
    ("terminal", "variable", "master", "times"),
    [
        (True, "", "local[*]", 1),
        (False, "", "local[*]", 0),
        (False, "again", "local[*]", 1),
        (True, "PYSPARK_GATEWAY_PORT", "local[*]", 0),
        (True, "SPARK_REMOTE", "local[*]", 0),
        (True, "", "yarn", 0),
    ],
)
def test_after_a_local_run_from_a_terminal_or_a_second_one(
    cache, started, monkeypatch, terminal, variable, master, times
):
    for name in ("SPARK_SUBMIT_OPTS", "SPARK_REMOTE"):
        monkeypatch.delenv(name, raising=False)
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: terminal)
    if variable == "again":
        session.prepare_next(master)
        assert not started and not archive_flags("")
    elif variable:
        monkeypatch.setenv(variable, "1")
    session.prepare_next(master)
    assert len(started) == times


@pytest.mark.parametrize(("version", "unproved"), [("17.0.1", True), ("25", True), ("26", False), ("11.0.2", False)])
def test_classes_that_are_in_no_archive_need_no_proof(cache, monkeypatch, tmp_path, version, unproved):
    for name in ("SPARK_SUBMIT_OPTS", "SPARK_REMOTE", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "PYSPARK_SUBMIT_ARGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JAVA_HOME", str(java(tmp_path / "other", version)))
    monkeypatch.setenv("IMGDEDUP_CLASS_ARCHIVE", "off")
    assert ("-XX:-BytecodeVerificationRemote" in session.java_flags(light=False)) is unproved
    if unproved:  # Java proves those that it archives
        monkeypatch.setenv("IMGDEDUP_CLASS_ARCHIVE", str(tmp_path / "own.jsa"))
        assert not set(class_archive.unproved_flags()) & set(session.java_flags(light=False))


@pytest.mark.spark
@pytest.mark.skipif(
    MODE != "classic" or str(ARCHIVE) not in os.environ["SPARK_SUBMIT_OPTS"],
    reason="make makes it, and this process starts the JVM",
)
def test_java_takes_the_one_of_these_tests(spark):
    maps = Path(f"/proc/{spark._jvm.java.lang.ProcessHandle.current().pid()}/maps")
    if not maps.exists():
        pytest.skip("no Linux")
    assert str(ARCHIVE) in maps.read_text()
