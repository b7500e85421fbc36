"""What a run is asked to do: frozen dataclasses, checked at the door.

Every option is declared once, here; the command line (``options``) and YAML files are read from these fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from imgdedup_spark.config.values import KeepTerm, VerifySpec, check_threshold, flag, option, parse_keep
from imgdedup_spark.errors import UserError
from imgdedup_spark.kernels import hashes
from imgdedup_spark.kernels.hashes import Decode, HashSpec
from imgdedup_spark.kernels.pictures.decode import DEFAULT_MAX_PIXELS

TEXT_RULES = ("lowercase", "ignore_non_character")


KEEP_SIZES = ("width", "height", "pixels", "bytes")


#: The method that is no hash: images are compared by the cosine of their embeddings.
EMBEDDING = "clip"


#: Options that only hashes, or only embeddings, do something with.
HASH_OPTIONS = ("hash_size", "threshold", "verify", "hash_col")


EMBEDDING_OPTIONS = ("similarity", "model", "embedding_col", "batch_size", "device")


#: What one entry of ``stages`` may say; all other options hold for the whole run.
STAGE_OPTIONS = ("method", *HASH_OPTIONS, *EMBEDDING_OPTIONS)


@dataclass(frozen=True)
class DedupConfig:
    """How duplicates are found and which row of a group stays; see the README's table of options."""

    image_col: str | None = option(None, "column with the images (default: `images`, else `image`)", metavar="NAME")
    image_root: str | None = option(
        None,
        "where relative image paths start; they may not climb out of it (default: folder of the input)",
        metavar="DIR",
    )
    id_col: str | None = option(None, "the rows' own id (default: <input file name>#<row number>)", metavar="NAME")
    text_col: str | None = option(None, "the text joins the image in the key", metavar="NAME")
    text_normalize: tuple[str, ...] = option(
        (), "what is done to the text before it is hashed", nargs="+", choices=TEXT_RULES, metavar="RULE"
    )
    method: str = option("phash", "hash method: " + ", ".join((*hashes.METHODS, EMBEDDING)), metavar="NAME")
    hash_size: int = option(8, "N×N bits for the methods that have one", metavar="N")
    threshold: int = option(0, "0: equal hashes; T: rows within T bits are near-duplicates", metavar="T")
    similarity: float = option(0.9, "for embeddings: cosine >= S", metavar="S")
    hash_col: str | None = option(
        None, "a column of ready hashes (hex string or binary, all of one length): no image is read", metavar="NAME"
    )
    model: str = option(
        "openai/clip-vit-base-patch32",
        "for embeddings: a Hugging Face id, a local folder or an .onnx file",
        metavar="MODEL",
    )
    embedding_col: str | None = option(None, "for embeddings: a column of ready vectors", metavar="NAME")
    batch_size: int = option(32, "for embeddings: pictures in one inference batch", metavar="N")
    device: str = option("auto", "for embeddings: where the model runs", choices=("auto", "cpu", "cuda"))
    verify: tuple[str, ...] = option(
        (), "a near-duplicate must also be within T bits under this second hash; repeatable", action="append",
        metavar="METHOD:SIZE:T",
    )  # fmt: skip
    invariant: tuple[str, ...] = option(
        (), "mirrored or turned copies count as duplicates", nargs="+", choices=("flip", "rotate"), metavar="KIND"
    )
    keep: str = option(
        "first",
        'which row of a group stays: `first`, or terms such as "pixels desc, bytes desc, first"',
        metavar="RULE",
    )
    decode: Decode = option("fast", "`exact`: bit for bit the imagehash package's hashes", choices=("fast", "exact"))  # noqa: RUF009
    on_error: str = option("keep", "a row with an unreadable image", choices=("keep", "drop", "fail"))
    missing: str = option(
        "keep", "rows without any image: keep all, or treat them as duplicates", choices=("keep", "duplicates")
    )
    max_pixels: int = option(DEFAULT_MAX_PIXELS, "larger images are errors", metavar="N")
    show_num: int = option(0, "sample N groups of duplicates into pairs/", metavar="N")
    emit_hashes: bool = option(
        False, "add imagehash and texthash to kept/, and max_similarity for embeddings", action="store_true"
    )
    #: Ways to find duplicates one after another, each among what the one before has kept: mappings of
    #: ``STAGE_OPTIONS``. For YAML files and Python; a command line has no room for it.
    stages: tuple[Mapping[str, Any], ...] = ()
    #: Width of the hashes in ``hash_col``, found in the data when distances are asked for; no option.
    ready_bits: int | None = None
    #: Numbers in one embedding, found in the data; no option.
    dimensions: int | None = None

    def __post_init__(self) -> None:
        for name in ("text_normalize", "verify", "invariant"):
            value = getattr(self, name)
            value = (value,) if isinstance(value, str) else tuple(value or ())
            object.__setattr__(self, name, value)
        object.__setattr__(self, "stages", tuple(self.stages or ()))

    @property
    def spec(self) -> HashSpec:
        """The main hash."""
        return HashSpec(self.method, self.hash_size)

    @property
    def is_embedding(self) -> bool:
        """Whether rows are compared by embeddings (of a run in stages: in its last one)."""
        return self.steps[-1].method == EMBEDDING

    @property
    def reads_images(self) -> bool:
        """Whether any picture is looked at; not where ready hashes or embeddings take their place."""
        return any(not (one.hash_col or one.embedding_col) for one in self.steps)

    @property
    def steps(self) -> tuple[DedupConfig, ...]:
        """The run's stages, each as the options of a run of its own; most runs have one."""
        if not self.stages:
            return (self,)
        return tuple(replace(self, stages=(), **one) for one in self.stages)

    @property
    def step_names(self) -> tuple[str, ...]:
        return tuple(f"{number} {one.method}" for number, one in enumerate(self.steps, 1))

    @property
    def verifies(self) -> tuple[VerifySpec, ...]:
        return tuple(VerifySpec.parse(text) for text in self.verify)

    @property
    def specs(self) -> tuple[HashSpec, ...]:
        """All hashes of a picture: the main one, then those of ``verify``."""
        return (self.spec, *(verify.spec for verify in self.verifies))

    @property
    def keep_terms(self) -> tuple[KeepTerm, ...]:
        """The terms of ``keep`` before the final ``first``; none for plain ``first``."""
        return parse_keep(self.keep)

    def check(self) -> None:
        """Raises:
        UserError: an option is wrong, alone or beside another.
        """
        for item in dataclasses.fields(self):
            choices = item.metadata.get("choices")
            value = getattr(self, item.name)
            for one in value if isinstance(value, tuple) else (value,):
                if choices and one not in choices:
                    raise UserError(f"{flag(item.name)} is one of {', '.join(choices)}, not {one!r}")
        if self.show_num < 0:
            raise UserError(f"{flag('show_num')} is 0 or more, not {self.show_num}")
        for name in ("max_pixels", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{flag(name)} is 1 or more, not {getattr(self, name)}")
        if self.invariant:
            raise UserError("--invariant is not available yet; leave it out")
        if self.text_normalize and not self.text_col:
            raise UserError("--text-normalize needs --text-col")
        parse_keep(self.keep)
        if self.stages:
            self._check_stages()
        elif self.method == EMBEDDING:
            self._check_embeddings()
        else:
            self._check_hashes()

    def _check_hashes(self) -> None:
        alien = self._changed(EMBEDDING_OPTIONS)
        if alien:
            raise UserError(f"{alien[0]} is for embeddings: add --method {EMBEDDING}, or leave it out")
        hashes.validate(self.spec)
        if self.hash_col:
            if self.threshold < 0:
                raise UserError(f"--threshold is 0 or more bits, not {self.threshold}")
            if self.verify:
                raise UserError(
                    "--verify computes a second hash from the image, and --hash-col reads no image: leave one out"
                )
        else:
            check_threshold(self.spec, self.threshold, "--threshold")
        if self.verifies and not self.threshold:
            raise UserError("--verify refines near-duplicates: it needs --threshold above 0")

    def _check_embeddings(self) -> None:
        alien = self._changed(HASH_OPTIONS)
        if alien:
            raise UserError(
                f"{alien[0]} is for hashes, and --method {EMBEDDING} compares embeddings, whose threshold is "
                "--similarity: leave it out, or choose a hash method such as phash"
            )
        # Below 0 nearly everything is a duplicate of everything, and the bounds of the search bound nothing.
        if not 0 < self.similarity <= 1:
            raise UserError(f"--similarity is a cosine above 0 and at most 1, not {self.similarity}")
        if self.embedding_col:
            unused = [one for one in self._changed(EMBEDDING_OPTIONS) if one in ("--model", "--batch-size", "--device")]
            if unused:
                raise UserError(f"{unused[0]} runs a model, and --embedding-col has ready vectors: leave one out")

    def check_references(self, index: str | None, against: Sequence[str]) -> None:
        """Raises:
        UserError: the run is one of stages, which know nothing of earlier rows.
        """
        if self.stages and (index or against):
            raise UserError(
                f"{'--index' if index else '--against'} does not go with `stages`: give each stage a run of its "
                "own (with an index of its own), the next one on the kept/ of the one before"
            )

    def _check_stages(self) -> None:
        alien = self._changed(STAGE_OPTIONS)
        if alien:
            raise UserError(f"{alien[0]} stands beside `stages`: put it into the stage that it is for")
        if self.on_error == "drop":
            raise UserError(
                "--on-error drop does not go with `stages`: a row that others were dropped for may turn out to be "
                "unreadable in a later stage; use keep or fail"
            )
        for number, one in enumerate(self.stages, 1):
            for name in one:
                if name not in STAGE_OPTIONS:
                    raise UserError(f"stage {number}: `{name}` is no option of a stage; {', '.join(STAGE_OPTIONS)} are")
        for number, step in enumerate(self.steps, 1):
            try:
                step.check()
            except UserError as error:
                raise UserError(f"stage {number}: {error}") from None
            if step.method == EMBEDDING and number < len(self.stages):
                raise UserError(f"stage {number}: embeddings cost most, so that they are the last stage or none")

    def _changed(self, names: tuple[str, ...]) -> list[str]:
        """The flags of those options that do not have their default value."""
        fields = {item.name: item for item in dataclasses.fields(self)}
        return [flag(name) for name in names if getattr(self, name) != fields[name].default]
