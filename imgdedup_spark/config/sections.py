"""How duplicates are found, section by section in the order of the flow. Every option is declared once, here or in
``job``; the command line and YAML files are read from these fields."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

from imgdedup_spark.config.options import Section, option
from imgdedup_spark.config.presets import PRESETS
from imgdedup_spark.config.values import KeepTerm, VerifySpec, parse_keep
from imgdedup_spark.errors import UserError
from imgdedup_spark.kernels import hashes
from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.view_names import CROPS
from imgdedup_spark.kernels.hashes.view_names import VIEWS as NAMES
from imgdedup_spark.kernels.pictures.reading import (
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_PIXELS,
    FRAMES,
    READING,
    Decode,
    Frames,
    Reading,
    ground_color,
)

VIEWS = ("trimmed", "center", "turned", "whole")
TEXT_RULES = ("lowercase", "ignore_non_character")
#: The methods that are no hashes: images are compared by the cosine of what a model says of them, of what they show
#: (clip) or of whether one is made of the other (sscd).
EMBEDDINGS = ("clip", "sscd")


@dataclass(frozen=True, kw_only=True)
class InputOptions(Section):
    """What a row's image, id and text are, and what becomes of rows that have no image to compare."""

    image_col: str | None = option(None, "column with the images (default: `images`, else `image`)", metavar="NAME")
    image_root: str | None = option(
        None,
        "where relative image paths start; they may not climb out of it (default: folder of the input)",
        metavar="DIR",
    )
    #: Empty: a row opens nothing with the user's keys that the user has not named.
    allow_store: tuple[str, ...] = option(
        (), "other stores, or folders of them, that rows may name pictures on", nargs="+", metavar="PREFIX"
    )
    #: None: a row's place in the input, which is always there and always unique.
    id_col: str | None = option(None, "the rows' own id (default: <input file name>#<row number>)", metavar="NAME")
    text_col: str | None = option(None, "the text joins the image in the key", metavar="NAME")
    #: As for ``on_error``, nothing is dropped that has not been compared.
    missing: str = option(
        "keep", "rows without any image: keep all, or treat them as duplicates", choices=("keep", "duplicates")
    )
    #: None: keep, as long as it is the pictures that are unreadable. What meets nearly all of them ends the job, unless
    #: the user has said what to do.
    on_error: str | None = option(
        None, "a row with an unreadable image (default: keep)", choices=("keep", "drop", "fail")
    )


@dataclass(frozen=True, kw_only=True)
class HashOptions(Section):
    """What is computed from a row, so that rows can be compared."""

    text_normalize: tuple[str, ...] = option(
        (), "what is done to the text before it is hashed", nargs="+", choices=TEXT_RULES, metavar="RULE"
    )
    #: Of the hashes of 64 bits the one with the fewest false pairs (docs/performance.md, "Recall, fast against exact").
    method: str = option("phash", "hash method: " + ", ".join((*hashes.METHODS, *EMBEDDINGS)), metavar="NAME")
    #: 64 bits, as in the imagehash package; the kernels compare a machine word at a time.
    hash_size: int = option(8, "N×N bits for the methods that have one", metavar="N")
    hash_col: str | None = option(
        None, "a column of ready hashes (hex string or binary, all of one length): no image is read", metavar="NAME"
    )
    #: Cheaper, and finds more edited copies than ``exact`` (same page).
    decode: Decode = option("fast", "`exact`: bit for bit the imagehash package's hashes", choices=("fast", "exact"))  # noqa: RUF009
    #: Where Pillow refuses, too.
    max_pixels: int = option(DEFAULT_MAX_PIXELS, "larger images are errors", metavar="N")
    #: The largest allowed picture, not packed and in 16 bits a color, has less.
    max_bytes: int = option(DEFAULT_MAX_BYTES, "larger image files are errors", metavar="N")
    #: A photograph takes milliseconds, and the largest picture that is allowed some ten seconds.
    image_timeout: float = option(30.0, "seconds that one image may take; slower ones are errors", metavar="S")

    #: As paper and most pages are.
    background: str = option("white", "what transparent pictures are laid on before they are hashed", metavar="COLOR")
    frames: Frames = option(  # noqa: RUF009
        "first", "of animations and documents of several pages: the first frame, or all of them", choices=FRAMES
    )
    tolerant: bool = option(
        True, "read nearly whole files (their end, checksums and sizes of texts), with a warning in errors/",
        action=argparse.BooleanOptionalAction,
    )  # fmt: skip

    @property
    def reading(self) -> Reading:
        """How files become pictures."""
        return Reading(self.background, self.frames, self.tolerant)

    @property
    def spec(self) -> HashSpec:
        """The main hash."""
        return HashSpec(self.method, self.hash_size)

    def check(self) -> None:
        super().check()
        self.check_least(1, "max_pixels", "max_bytes")
        if not 0 < self.image_timeout < math.inf:
            raise UserError(f"--image-timeout is a number of seconds above 0, not {self.image_timeout}")
        try:
            if self.background != READING.background:
                ground_color(self.background)
        except ValueError:
            raise UserError(
                f"--background {self.background}: not a color; name one, as `white`, or write it as `#ffffff`"
            ) from None
        if self.method not in EMBEDDINGS:
            hashes.validate(self.spec)


@dataclass(frozen=True, kw_only=True)
class MatchOptions(Section):
    """How near two hashes are in rows that match."""

    #: None: what a run without any option finds is what it always was, pictures of equal hashes.
    preset: str | None = option(
        None, "a measured combination of hashes and thresholds; options given beside it win",
        choices=tuple(PRESETS),
    )  # fmt: skip
    #: How many bits still make a copy depends on the method and the pictures: who wants more than equal ones says so.
    threshold: int = option(0, "0: equal hashes; T: rows within T bits are near-duplicates", metavar="T")
    verify: tuple[str, ...] = option(
        (), "a near-duplicate must also be within T bits under this second hash; repeatable", action="append",
        metavar="METHOD:SIZE:T",
    )  # fmt: skip
    views: tuple[str, ...] = option(
        (), "other views of each picture that may match, too: without its borders, its center, mirrored and turned; "
        "`whole`: none, whatever a preset says",
        nargs="+", choices=VIEWS, metavar="KIND",
    )  # fmt: skip
    invariant: tuple[str, ...] = option(
        (), "mirrored or turned copies count as duplicates", nargs="+", choices=("flip", "rotate"), metavar="KIND"
    )
    never: str | None = option(
        None, "pairs of ids that are never matched with each other: CSV, JSON lines or Parquet with columns a and b",
        metavar="FILE",
    )  # fmt: skip

    @property
    def verifies(self) -> tuple[VerifySpec, ...]:
        return tuple(VerifySpec.parse(text) for text in self.verify)

    @property
    def view_names(self) -> tuple[str, ...]:
        """The views besides the whole that are hashed (of ``view_names.VIEWS``)."""
        wanted = {*self.views, *self.invariant}
        turns = {
            "flip": ("flip", "flip_180"),  # left to right, and upside down
            "rotate": ("rotate_90", "rotate_180", "rotate_270"),
        }
        if "turned" in wanted or wanted.issuperset(turns):
            wanted |= set(NAMES) - set(CROPS)
        else:
            wanted |= {name for kind in turns if kind in wanted for name in turns[kind]}
        return tuple(name for name in NAMES[1:] if name in wanted)

    def check(self) -> None:
        super().check()
        if self.threshold < 0:
            raise UserError(f"--threshold: a threshold is 0 or more bits, not {self.threshold}")
        if self.verifies and not self.threshold:
            raise UserError("--verify refines near-duplicates: it needs --threshold above 0")
        if "whole" in self.views and len(self.views) > 1:
            raise UserError("--views whole stands for no other views: leave it out, or the others")


@dataclass(frozen=True, kw_only=True)
class KeepOptions(Section):
    """Which row of a group stays."""

    #: The order that rows have anyway. Any other costs a sort.
    keep: str = option(
        "first",
        'which row of a group stays: `first`, or terms such as "pixels desc, bytes desc, first"',
        metavar="RULE",
    )

    @property
    def keep_terms(self) -> tuple[KeepTerm, ...]:
        """The terms of ``keep`` before the final ``first``; none for plain ``first``."""
        return parse_keep(self.keep)

    def check(self) -> None:
        super().check()
        parse_keep(self.keep)


@dataclass(frozen=True, kw_only=True)
class OutputOptions(Section):
    """What is written beside the rows that stay."""

    show_num: int = option(0, "sample N groups of duplicates into pairs/", metavar="N")
    #: Off, so that kept/ has exactly the input's columns.
    emit_hashes: bool = option(
        False, "add imagehash and texthash to kept/, and max_similarity for embeddings", action="store_true"
    )

    def check(self) -> None:
        super().check()
        self.check_least(0, "show_num")


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions(Section):
    """What embeddings have in the place of hashes and their threshold."""

    similarity: float = option(0.9, "for embeddings: cosine >= S (sscd: 0.5; with a background set 0.35)", metavar="S")
    #: The CLIP model that sees a picture in the fewest pieces, which makes it the quickest.
    model: str = option(
        "openai/clip-vit-base-patch32",
        "for embeddings: a Hugging Face id, a local folder or an .onnx file; for sscd its TorchScript or .onnx file",
        metavar="MODEL",
    )
    embedding_col: str | None = option(None, "for embeddings: a column of ready vectors", metavar="NAME")
    #: None: a cosine is a cosine.
    background_set: str | None = option(
        None,
        "for embeddings: pictures of which none is a copy of the input's; a row's cosines count less by its mean one "
        "with the 3 nearest of them (score normalisation)",
        metavar="PATH",
    )
    #: 19 MB of pixels (224×224 of three floats) in each worker.
    batch_size: int = option(32, "for embeddings: pictures in one inference batch", metavar="N")
    device: str = option("auto", "for embeddings: where the model runs", choices=("auto", "cpu", "cuda"))

    def check(self) -> None:
        super().check()
        # Below 0 nearly everything is a duplicate of everything, and the bounds of the search bound nothing.
        if not 0 < self.similarity <= 1:
            raise UserError(f"--similarity is a cosine above 0 and at most 1, not {self.similarity}")
        self.check_least(1, "batch_size")
        if self.background_set is not None and not str(self.background_set):
            raise UserError("--background-set: name a folder, or any input")
        unused = self.changed(("model", "batch_size", "device"))
        if self.embedding_col and unused:
            raise UserError(f"{unused[0]} runs a model, and --embedding-col has ready vectors: leave one out")
