"""Pictures in, vectors of length 1 out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgdedup_spark.errors import ImageError
from imgdedup_spark.kernels.encoders.models import load
from imgdedup_spark.kernels.encoders.spec import EncoderSpec
from imgdedup_spark.kernels.hashes.quality import qualities, sample
from imgdedup_spark.kernels.pictures.decode import Picture
from imgdedup_spark.kernels.pictures.facts import Facts
from imgdedup_spark.kernels.pictures.reading import DEFAULT_MAX_PIXELS, READING, Reading
from imgdedup_spark.kernels.pictures.trouble import Bytes, explained, quiet
from imgdedup_spark.kernels.pictures.watch import at_large, in_hand


@dataclass(frozen=True)
class Embeddings:
    """What became of n pictures.

    Attributes:
        vectors: (n, d) float32 of length 1; zeros for a picture that could not be read, or to which the model
            answers with zeros or with no numbers. (n, 0) if no picture could be read.
        facts: what else was noticed; of animations the first frame is looked at.
    """

    vectors: NDArray[np.float32]
    facts: Facts

    @property
    def width(self) -> NDArray[np.int32]:
        return self.facts.width

    @property
    def height(self) -> NDArray[np.int32]:
        return self.facts.height

    @property
    def errors(self) -> dict[int, ImageError]:
        return self.facts.errors


class Encoder:
    """Turns pictures into embeddings. Pickles as its settings; each process loads the model once, when it needs it."""

    def __init__(self, spec: EncoderSpec, max_pixels: int = DEFAULT_MAX_PIXELS, reading: Reading = READING) -> None:
        self.spec = spec
        self.max_pixels = max_pixels
        self.reading = reading

    def encode(self, pictures: Sequence[Bytes]) -> Embeddings:
        """Decodes, prepares and encodes files in batches of the spec's size.

        Raises:
            UserError: the model cannot be loaded here (see :func:`check_model`).
        """
        with at_large():
            network = load(self.spec)
        facts = Facts.of(len(pictures))
        features: list[NDArray[np.float32]] = []
        places: list[int] = []
        waiting: list[Any] = []
        for place, data in enumerate(pictures):
            try:
                # Preparing is within it: some models' processors cannot do with a picture of one pixel.
                with in_hand(place), quiet(), explained(data):
                    picture = Picture(data, self.max_pixels, fast=False, reading=self.reading)
                    # Only the small input waits for the batch: 32 decoded photographs would be a gigabyte.
                    prepared = network.prepare(picture.rgb())
                    facts.note(place, picture)
                    facts.quality[place] = qualities([sample(picture)])[0]
            except ImageError as error:
                facts.fail(place, error)
                continue
            waiting.append(prepared)
            places.append(place)
            if len(waiting) == self.spec.batch_size:
                with at_large():
                    features.append(network.run(waiting))
                waiting = []
        if waiting:
            with at_large():
                features.append(network.run(waiting))
        if not features:
            return Embeddings(np.zeros((len(pictures), 0), np.float32), facts)
        found = normalised(np.concatenate(features))
        vectors = np.zeros((len(pictures), found.shape[1]), np.float32)
        vectors[places] = found
        return Embeddings(vectors, facts)


@dataclass(frozen=True)
class Vectors:
    """Embeddings as `Embedder` gives them; see ``hashes.Fingerprints``. One column of bytes takes the hashes' place."""

    hashes: list[list[bytes | None]]
    facts: Facts


class Embedder:
    """An encoder in the place of a ``hashes.Hasher``: a picture's hash is the bytes of its vector."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def hash_batch(self, pictures: Sequence[Bytes]) -> Vectors:
        found = self.encoder.encode(pictures)
        for place in np.flatnonzero(~found.vectors.any(axis=1)).tolist():
            problem = ImageError("bad_vector", "the model answers with zeros or with no numbers")
            found.errors.setdefault(place, problem)
        vectors = [None if place in found.errors else one.tobytes() for place, one in enumerate(found.vectors)]
        return Vectors([vectors], found.facts)


def normalised(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """(n, d) float32 rows of length 1; rows without a direction (zeros, infinities, NaN) become zeros."""
    wide = vectors.astype(np.float64)
    usable = np.isfinite(wide).all(axis=1)
    wide[~usable] = 0.0
    # By a power of two, which rounds nothing, so that no square of a large or small number overflows.
    largest = np.abs(wide).max(axis=1, keepdims=True, initial=0.0)
    wide = np.ldexp(wide, -np.frexp(largest)[1])
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return (wide / np.where(length > 0, length, 1.0)).astype(np.float32)
