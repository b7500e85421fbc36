"""What a run is asked to do: frozen dataclasses, checked at the door.

Every option is declared once, here; the command line (``options``) and YAML files are read from these fields.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from imgdedup_spark import hashes
from imgdedup_spark.errors import UserError
from imgdedup_spark.hashes import Decode, HashSpec
from imgdedup_spark.images import DEFAULT_MAX_PIXELS

TEXT_RULES = ("lowercase", "ignore_non_character")
KEEP_SIZES = ("width", "height", "pixels", "bytes")
#: The method that is no hash: images are compared by the cosine of their embeddings.
EMBEDDING = "clip"
#: Options that only hashes, or only embeddings, do something with.
HASH_OPTIONS = ("hash_size", "threshold", "verify", "hash_col")
EMBEDDING_OPTIONS = ("similarity", "model", "embedding_col", "batch_size", "device")
#: What one entry of ``stages`` may say; all other options hold for the whole run.
STAGE_OPTIONS = ("method", *HASH_OPTIONS, *EMBEDDING_OPTIONS)


def option(default: Any, help: str, **how: Any) -> Any:
    """A field that is also a command-line option; ``how`` goes to ``ArgumentParser.add_argument``."""
    metadata = {"help": help, **how}
    if default is dataclasses.MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class KeepTerm:
    """One term of ``--keep``: a column and its direction."""

    column: str
    descending: bool


@dataclass(frozen=True)
class VerifySpec:
    """One ``--verify METHOD:SIZE:T``: a second hash that must be within ``threshold`` bits too."""

    spec: HashSpec
    threshold: int

    @classmethod
    def parse(cls, text: str) -> VerifySpec:
        match = re.fullmatch(r"(\w+):(\d+):(\d+)", text)
        if not match:
            raise UserError(f"--verify takes METHOD:SIZE:T, for example phash:16:31, not {text!r}")
        verify = cls(HashSpec(match[1], int(match[2])), int(match[3]))
        hashes.validate(verify.spec)
        check_threshold(verify.spec, verify.threshold, f"--verify {text}")
        return verify


def check_threshold(spec: HashSpec, threshold: int, option_name: str) -> None:
    """Raises:
    UserError: the threshold makes no sense for this hash.
    """
    if threshold < 0:
        raise UserError(f"{option_name}: a threshold is 0 or more bits, not {threshold}")
    if threshold == 0:
        return
    if not spec.near or spec.bits is None:
        raise UserError(
            f"{option_name}: distances between {spec.method} hashes mean nothing, so only equal ones can be "
            "found; use threshold 0 or a method such as phash"
        )
    if threshold > spec.bits:
        raise UserError(f"{option_name}: threshold {threshold} is larger than the hash, which has {spec.bits} bits")


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


@dataclass(frozen=True)
class JobConfig:
    """A whole job: what it reads, where it writes, and a `DedupConfig`."""

    input: tuple[str, ...] = option(
        (), "files, folders or globs; several are one data set in the order given", nargs="+", metavar="PATH"
    )
    output: str = option("", "folder for the result; refuses a non-empty one unless --overwrite", metavar="DIR")
    input_format: str | None = option(
        None, "`parquet`, `jsonl`, `images`, or any Spark data source (default: by file ending)", metavar="FORMAT"
    )
    output_format: str | None = option(
        None, "`parquet` or `jsonl`, for kept/ (default: the input's, `jsonl` for images)", choices=("parquet", "jsonl")
    )
    index: str | None = option(
        None, "fingerprints of all that was kept so far: rows are compared with it and added to it", metavar="DIR"
    )
    against: tuple[str, ...] = option(
        (), "data sets or indexes to compare with, read only: rows found there are dropped", nargs="+", metavar="DIR"
    )
    run_id: str | None = option(
        None, "names this run in the index; the same id again replaces what that run had added", metavar="ID"
    )
    dry_run: bool = option(False, "read and report, write no kept/", action="store_true")
    overwrite: bool = option(False, "replace an existing output", action="store_true")
    dedup: DedupConfig = field(default_factory=DedupConfig)

    def check(self, *, fingerprint: bool = False) -> None:
        """Args:
            fingerprint: whether the job makes an index and has no other output.

        Raises:
            UserError: an option is wrong, alone or beside another.
        """
        if not self.input:
            raise UserError("--input is required: name at least one file, folder or glob")
        if fingerprint:
            if not self.index:
                raise UserError("--index is required: name the folder of the index to make or to add to")
            if self.output or self.against:
                raise UserError("--output and --against are options of imgdedup; this command only makes an index")
        elif not self.output:
            raise UserError("--output is required: name the folder to write")
        if self.output_format not in (None, "parquet", "jsonl"):
            raise UserError(f"--output-format is one of parquet, jsonl, not {self.output_format!r}")
        if self.run_id is not None and self.index is None:
            raise UserError("--run-id names a run in an index: it needs --index")
        if self.run_id == "":
            raise UserError("--run-id: an id has at least one character")
        self.dedup.check_references(self.index, self.against)
        self.dedup.check()


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def parse_keep(rule: str) -> tuple[KeepTerm, ...]:
    """``"pixels desc, first"`` → its terms; ``first`` closes the rule and may be left out.

    Raises:
        UserError: a term is not ``column``, ``column asc`` or ``column desc``, or comes after ``first``.
    """
    terms: list[KeepTerm] = []
    words = [term.strip() for term in rule.split(",")]
    for index, term in enumerate(words):
        if term == "first":
            if index != len(words) - 1:
                raise UserError(f"--keep {rule!r}: `first` decides every tie, so nothing can come after it")
            break
        match = re.fullmatch(r"(.+?)(?:\s+(asc|desc))?", term, flags=re.IGNORECASE)
        if not match:
            raise UserError(f'--keep {rule!r}: a term is a column with asc or desc, as in "pixels desc, first"')
        terms.append(KeepTerm(match[1].strip("`"), (match[2] or "asc").lower() == "desc"))
    return tuple(terms)
