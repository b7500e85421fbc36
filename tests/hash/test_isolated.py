"""A picture that kills costs one row, whatever it does."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "killers"))
sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
import killers
from outcomes import example
from PIL import ImageFile

from imgdedup_spark.errors import ImageError, JobError, UserError
from imgdedup_spark.hash import isolated
from imgdedup_spark.hash.faults import hash_or_stop
from imgdedup_spark.hash.isolated import Isolated
from imgdedup_spark.kernels.encoders import embedder
from imgdedup_spark.kernels.encoders.spec import EncoderSpec, Network
from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.facts import Facts
from imgdedup_spark.kernels.pictures.thumbnail import Thumbnails, thumbnail
from imgdedup_spark.report.pictures import find_thumbnails


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """A helper of each test's own, forked from a process whose Pillow dies of killers."""
    with killers.dying(monkeypatch):
        yield


def hasher(*specs: HashSpec) -> Hasher:
    return Hasher(specs or [HashSpec()])


@pytest.mark.parametrize("kind", killers.CODES)
def test_a_killer_costs_one_row(photos, kind, capfd):
    code = killers.CODES[kind]
    batch = [photos["A"], killers.killer(photos["D"], kind), photos["B"], photos["C"]]
    found = hash_or_stop(Isolated(hasher(), 1 if code == "timeout" else 30), batch)
    expected = hasher().hash_batch([photos[letter] for letter in "ADBC"])
    assert {place: error.code for place, error in found.errors.items()} == ({1: code} if code else {})
    assert [one for place, one in enumerate(found.hashes[0]) if place != 1] == [
        one for place, one in enumerate(expected.hashes[0]) if place != 1
    ]
    assert code or found.hashes == expected.hashes
    for error in found.errors.values():
        error.message.encode()
        assert error.message.startswith("JPEG: ")
    assert capfd.readouterr() == ("", "")


def test_many_killers_in_one_batch(photos):
    kinds = ["abort", "segfault", "exit", "spin", "eat"] * 2
    good = [photos[letter] for letter in "ABCDEF"]
    bad = [killers.killer(photos["A"], kind, number) for number, kind in enumerate(kinds)]
    batch = [*bad[:5], *good, *bad[5:]]
    found = hash_or_stop(Isolated(hasher(), 3), batch)
    codes = [killers.CODES[kind] for kind in kinds]
    assert [found.errors[place].code for place in sorted(found.errors)] == codes
    assert found.hashes[0][5:11] == hasher().hash_batch(good).hashes[0]


class Loads(Hasher):
    """One that writes down each process in which it begins to work."""

    log: Path
    loaded = False

    def __reduce__(self):
        return Loads, (self.specs,)

    def _picture(self, data):
        if not Loads.loaded:
            Loads.loaded = True
            with Loads.log.open("a") as log:
                print(os.getpid(), file=log)
        return super()._picture(data)


def test_what_hashing_takes_is_not_loaded_after_each_death(photos, tmp_path):
    Loads.log = tmp_path / "log"
    batch = [photos["A"], *(killers.killer(photos["B"], "abort", number) for number in range(5)), photos["C"]]
    found = Isolated(Loads([HashSpec()])).hash_batch(batch)
    assert {error.code for error in found.errors.values()} == {"crashed"} and len(found.errors) == 5
    # In the first helper, in one that tries it, and here.
    assert len(Loads.log.read_text().splitlines()) == 3


def test_a_known_killer_is_not_tried_again(photos):
    killer = killers.killer(photos["A"], "spin")
    work = Isolated(hasher(), 2)
    first = work.hash_batch([killer, photos["B"]])
    alive = isolated._mine._process.pid
    second = work.hash_batch([photos["C"], killer, killer])
    assert isolated._mine._process.pid == alive
    assert first.errors[0].message == second.errors[1].message == second.errors[2].message
    # Work that never decodes can do with it.
    assert Isolated(hasher(HashSpec("md5")), 2).hash_batch([killer]).errors == {}


def test_a_killer_of_models(photos, monkeypatch):
    network = Network(lambda picture: np.asarray(picture.resize((2, 2))).ravel() / 255, np.stack)
    monkeypatch.setattr(embedder, "load", lambda spec: network)
    found = Isolated(embedder.Embedder(embedder.Encoder(EncoderSpec("some"))), 1).hash_batch(
        [photos["A"], killers.killer(photos["B"], "abort")]
    )
    assert found.facts.errors[1].code == "crashed"
    assert found.hashes[0][0]


def test_thumbnails_of_killers_are_left_out(photos, tmp_path):
    batch = [killers.killer(photos["A"], kind) for kind in ("abort", "spin", "sysexit", "mute")]
    made = Isolated(Thumbnails(), 2).hash_batch([*batch, photos["B"]])
    assert made[:4] == [None] * 4 and made[4] == thumbnail(photos["B"])
    (tmp_path / "bad.jpg").write_bytes(batch[0])
    (tmp_path / "good.jpg").write_bytes(photos["B"])
    shown = find_thumbnails(example(background="white", input=[str(tmp_path)]), ["bad.jpg#0", "good.jpg#0"])
    assert list(shown) == ["good.jpg#0"]


class SpoilsLater:
    """Dies at the picture after the one that is to blame, unless that is alone."""

    def hash_batch(self, pictures):
        from imgdedup_spark.kernels.pictures.watch import in_hand

        facts = Facts.of(len(pictures))
        spoilt = False
        for place, picture in enumerate(pictures):
            try:
                with in_hand(place):
                    if spoilt:
                        os.abort()
                    spoilt = bytes(picture) == b"bad"
            except ImageError as error:
                facts.fail(place, error)
        if spoilt and len(pictures) == 1:
            os.abort()
        return facts


def test_the_culprit_is_found_if_a_later_one_dies():
    facts = Isolated(SpoilsLater()).hash_batch([b"good", b"bad", b"well", b"fine"])
    assert {place: error.code for place, error in facts.errors.items()} == {1: "crashed"}


class KilledBySomebody:
    """As where the system ends a process for want of memory: so many times, at the picture in hand."""

    def __init__(self, folder, times):
        self.folder, self.times = folder, times

    def hash_batch(self, pictures):
        from imgdedup_spark.kernels.pictures.watch import in_hand

        facts = Facts.of(len(pictures))
        for place in range(len(pictures)):
            try:
                with in_hand(place):
                    killed = len(list(self.folder.iterdir()))
                    if place == 1 and killed < self.times:
                        (self.folder / str(killed)).touch()
                        os.kill(os.getpid(), signal.SIGKILL)
            except ImageError as error:
                facts.fail(place, error)
        return facts


@pytest.mark.parametrize(("times", "blamed"), [(1, {}), (2, {1: "crashed"})])
def test_no_picture_is_blamed_for_a_kill_from_outside(tmp_path, times, blamed):
    """One that comes again is one of the picture's that was in hand, whatever it does alone."""
    facts = Isolated(KilledBySomebody(tmp_path, times)).hash_batch([b"good", b"well", b"fine"])
    assert {place: error.code for place, error in facts.errors.items()} == blamed


class Dies:
    def hash_batch(self, pictures):
        os.abort()


class Raises:
    def __init__(self, error):
        self.error = error

    def hash_batch(self, pictures):
        raise self.error


def test_deaths_that_no_picture_is_to_blame_for_stop():
    with pytest.raises(JobError, match="the process that decodes pictures was ended by SIGABRT"):
        Isolated(Dies()).hash_batch([])


@pytest.mark.parametrize(
    "error", [UserError("no such model"), JobError("full"), KeyError("x"), ImageError("empty", "e")]
)
def test_what_is_no_pictures_fault_is_raised(error):
    with pytest.raises(type(error), match=str(error)):
        Isolated(Raises(error)).hash_batch([b"x"])


def test_a_machine_on_which_every_picture_kills_stops(photos, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda picture: os.abort())
    with pytest.raises(JobError, match="every picture fails here, even one that is known to be whole"):
        hash_or_stop(Isolated(hasher()), [photos["A"]])


def test_large_pictures_pass_and_their_memory_goes_back(photos, monkeypatch):
    monkeypatch.setattr(isolated, "_SHARED_BYTES", 1 << 20)
    large = photos["A"] + bytes(5 << 20)
    found = Isolated(hasher()).hash_batch([large, photos["B"]])
    assert found.hashes == hasher().hash_batch([large, photos["B"]]).hashes
    assert (
        Isolated(hasher(HashSpec("md5"))).hash_batch([photos["B"]]).hashes
        == hasher(HashSpec("md5")).hash_batch([photos["B"]]).hashes
    )


def test_the_helper_ends_with_its_worker(photos):
    pid = os.fork()
    if pid == 0:
        Isolated(hasher()).hash_batch([photos["A"]])
        Path(f"/tmp/helper-{os.getpid()}").write_text(str(isolated._mine._process.pid))
        os._exit(0)
    os.waitpid(pid, 0)
    note = Path(f"/tmp/helper-{pid}")
    helper = int(note.read_text())
    note.unlink()
    for _ in range(100):
        try:
            os.kill(helper, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{helper}/stat").read_text().split()[2] == "Z":
            return
        __import__("time").sleep(0.05)
    pytest.fail("the helper lives on")


def test_errors_travel():
    error = pickle.loads(pickle.dumps(ImageError("corrupt", "odd \udcff")))
    assert (error.code, error.message) == ("corrupt", "odd \\udcff")
