"""One run at a time in a folder, and the dead hold nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from imgdedup_spark.errors import JobError
from imgdedup_spark.files import sharing, storage
from imgdedup_spark.write import lock
from imgdedup_spark.write.lock import Lock

CHILD = """
import sys, time
from imgdedup_spark.write.lock import Lock
with Lock(sys.argv[1], "--output out"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "out" / "_staging")


@pytest.fixture
def holder(folder):
    process = subprocess.Popen([sys.executable, "-c", CHILD, folder], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lock, "DEAD_SECONDS", 0.5)


def test_it_is_held_and_let_go(folder):
    with Lock(folder, "--output out") as held:
        held.check()
        with pytest.raises(JobError, match=r"--output out: another run is at work there \(process \d+ on .+\)"):
            Lock(folder, "--output out").__enter__()
        held.check()
    assert not os.path.exists(folder)  # noqa: PTH110
    with pytest.raises(KeyError), Lock(folder, "--output out"):
        raise KeyError
    with Lock(folder, "--output out"):
        pass


def test_a_living_process_holds_it_and_a_killed_one_does_not(folder, holder):
    started = time.monotonic()
    with pytest.raises(JobError, match=f"process {holder.pid} on"):
        Lock(folder, "--output out").__enter__()
    holder.kill()
    # At once, even before anybody has asked for its exit status.
    until = time.monotonic() + 10
    while lock._started(holder.pid) and time.monotonic() < until:
        time.sleep(0.01)
    with Lock(folder, "--output out") as held:
        held.check()
    assert time.monotonic() - started < lock.DEAD_SECONDS / 2
    assert not os.path.exists(folder)  # noqa: PTH110


def test_a_number_used_again_is_not_the_same_process(folder):
    with Lock(folder, "--output out") as held:
        there = {**json.loads(storage.read_text(held._uri(1))), "pid": os.getppid(), "token": "x"}
    storage.write_text(held._uri(1), json.dumps({**there, "started": "1"}))
    with Lock(folder, "--output out"):
        pass
    storage.write_text(held._uri(1), json.dumps({**there, "started": lock._started(os.getppid())}))
    with pytest.raises(JobError, match="at work there"):
        Lock(folder, "--output out").__enter__()


def elsewhere(folder, monkeypatch):
    """A lock that another machine has."""
    with monkeypatch.context() as patch:
        patch.setattr(lock, "_machine", lambda: "elsewhere")
        held = Lock(folder, "--output out")
        text = held._text()
    monkeypatch.setattr(held, "_text", lambda: json.dumps({**json.loads(text), "alive": time.time()}))
    return held


def test_another_machine_shows_that_it_lives(folder, monkeypatch, quick):
    with elsewhere(folder, monkeypatch), pytest.raises(JobError, match="at work there"):
        Lock(folder, "--output out").__enter__()


def test_another_machine_that_gives_no_sign_is_dead(folder, monkeypatch, quick):
    theirs = elsewhere(folder, monkeypatch)
    monkeypatch.setattr(theirs, "_beat", lambda: None)
    theirs._beating = threading.Thread(target=lambda: None)
    with theirs, Lock(folder, "--output out") as mine:
        # It was only asleep: it finds out, and leaves the other's lock alone.
        mine.check()
        with pytest.raises(JobError, match="has taken the folder over"):
            theirs.check()
        theirs.__exit__(None, None, None)
        mine.check()


def test_a_sign_of_life_written_in_two_steps_is_not_another_run(folder, monkeypatch):
    """As Hadoop's local file systems do it: the old file goes, and a moment later the new one is there."""
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.001)
    written = threading.Semaphore(0)

    def in_two_steps(uri, text):
        Path(uri).unlink()
        time.sleep(0.02)
        Path(uri).write_text(text)
        written.release()

    with Lock(folder, "--output out") as held:
        monkeypatch.setattr(storage, "write_text", in_two_steps)
        for _ in range(20):
            written.acquire()
            time.sleep(0.01)  # into the next one
            held.check()


def test_of_many_at_once_one_holds_it(folder, monkeypatch):
    """Also where a dead one's lock is there, that all of them see."""
    storage.write_text(
        storage.join(folder, "lock-00000003.json"),
        json.dumps({"token": "x", "host": "h", "machine": lock._machine(), "pid": 2**22 + 1, "started": "1"}),
    )
    ready, outcomes = threading.Barrier(8), []

    def enter():
        held = Lock(folder, "--output out")
        ready.wait()
        try:
            held.__enter__()
            outcomes.append(held)
        except JobError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = [one for one in outcomes if isinstance(one, Lock)]
    winner.check()
    winner.__exit__(None, None, None)
    assert not os.path.exists(folder)  # noqa: PTH110


@pytest.mark.parametrize("scheme", ["s3", "hdfs"])
def test_other_stores(monkeypatch, scheme):
    from pyarrow import fs

    store = fs._MockFileSystem()
    store.create_dir("bucket/out/_staging")
    monkeypatch.setattr(storage, "_remote", lambda scheme, authority: (store, authority))
    monkeypatch.setattr(sharing, "SETTLE_SECONDS", 0.01)
    folder = f"{scheme}://bucket/out/_staging"
    with Lock(folder, "--output out") as held:
        held.check()
        with pytest.raises(JobError):
            Lock(folder, "--output out").__enter__()
    assert storage.list_names(folder) == []
