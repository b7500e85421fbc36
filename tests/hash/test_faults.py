"""A fault of the machine is no picture's, and one picture's fault is not the machine's."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pytest
from PIL import Image

from imgdedup_spark.errors import JobError
from imgdedup_spark.hash.faults import hash_or_stop
from imgdedup_spark.hash.worker import HashPictures
from imgdedup_spark.kernels.encoders import embedder
from imgdedup_spark.kernels.encoders.spec import EncoderSpec, Network
from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.paths import PathRules
from imgdedup_spark.kernels.pictures.reader import PictureReader


def fails(error):
    def raising(*_, **__):
        raise error

    return raising


@pytest.mark.parametrize(
    "error", [MemoryError(), ImportError("no module _imagingft"), OSError(28, "No space left on device")]
)
def test_what_meets_every_picture_stops(monkeypatch, photos, error):
    reader = PictureReader(PathRules(("/",), False))
    batch = pa.RecordBatch.from_pydict({"image": [photos["A"], photos["B"]]})
    monkeypatch.setattr(Image, "open", fails(error))
    with pytest.raises(
        JobError, match=f"every picture fails here.*{type(error).__name__ if not error.args else error.args[-1]}"
    ):
        HashPictures(Hasher([HashSpec()]), reader).hash(batch)


def test_a_broken_preprocessor_stops(monkeypatch, photos):
    network = Network(fails(KeyError("pixel_values")), lambda batch: None)
    monkeypatch.setattr(embedder, "load", lambda spec: network)
    with pytest.raises(JobError, match="pixel_values"):
        hash_or_stop(embedder.Embedder(embedder.Encoder(EncoderSpec("some"))), [photos["A"]])


@pytest.mark.parametrize("error", [MemoryError(), KeyError("odd file"), ZeroDivisionError()])
def test_one_pictures_fault_is_its_own(monkeypatch, photos, error):
    real = Image.open

    def sometimes(stream, **how):
        # The file itself, and what is mended of it.
        if photos["B"][-200:-100] in stream.getvalue():
            raise error
        return real(stream, **how)

    monkeypatch.setattr(Image, "open", sometimes)
    found = hash_or_stop(Hasher([HashSpec()]), [photos["A"], photos["B"], photos["C"]])
    # For want of memory is worth another try.
    assert {place: one.code for place, one in found.facts.errors.items()} == {
        1: "unreadable" if isinstance(error, MemoryError) else "corrupt"
    }


def test_what_is_well_is_hashed_once(photos):
    calls = []
    hasher = SimpleNamespace(
        hash_batch=lambda pictures: calls.append(pictures) or SimpleNamespace(facts=SimpleNamespace(errors={}))
    )
    hash_or_stop(hasher, [photos["A"]])
    assert calls == [[photos["A"]]]
