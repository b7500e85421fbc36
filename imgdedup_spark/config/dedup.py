"""How duplicates are found: all sections in one, and what concerns several of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from imgdedup_spark.config.options import flag
from imgdedup_spark.config.presets import PRESETS, of_method, with_preset
from imgdedup_spark.config.sections import (
    EMBEDDINGS,
    EmbeddingOptions,
    HashOptions,
    InputOptions,
    KeepOptions,
    MatchOptions,
    OutputOptions,
)
from imgdedup_spark.config.values import check_threshold
from imgdedup_spark.errors import UserError
from imgdedup_spark.kernels.hashes import METHODS, HashSpec

#: What ``keep`` may sort by besides the row's own columns.
KEEP_SIZES = ("width", "height", "pixels", "bytes")
#: Options that only hashes, or only embeddings, do something with.
ONLY_HASHES = ("preset", "hash_size", "threshold", "verify", "views", "invariant", "hash_col")
ONLY_EMBEDDINGS = tuple(item.name for item in dataclasses.fields(EmbeddingOptions))
#: What one entry of ``stages`` may say; all other options hold for the whole run.
STAGE_OPTIONS = ("method", *ONLY_HASHES, *ONLY_EMBEDDINGS)


class _Filled(type):
    """Classes whose instances are made of what is given and, for the rest, of the preset that is named."""

    def __call__(cls, **given: Any) -> Any:
        return super().__call__(**with_preset(given))


# Python puts the fields of the last base first: read from right to left, this is the order of the flow.
@dataclass(frozen=True, kw_only=True)
class DedupConfig(
    EmbeddingOptions, OutputOptions, KeepOptions, MatchOptions, HashOptions, InputOptions, metaclass=_Filled
):
    """How duplicates are found and which row of a group stays; see docs/options.md."""

    #: Ways to find duplicates one after another, each among what the one before has kept: mappings of
    #: ``STAGE_OPTIONS``. For YAML files and Python; a command line has no room for it.
    stages: tuple[Mapping[str, Any], ...] = ()

    def default_of(self, item: dataclasses.Field[Any]) -> Any:
        return of_method(vars(self)).get(item.name, item.default)

    @property
    def is_embedding(self) -> bool:
        """Whether rows are compared by embeddings (of a run in stages: in its last one)."""
        return self.steps[-1].method in EMBEDDINGS

    @property
    def finds_equal_phashes(self) -> bool:
        """Whether nothing was said of how pictures are compared."""
        return not (self.stages or self.hash_col or self.changed(STAGE_OPTIONS))

    @property
    def reads_images(self) -> bool:
        """Whether any picture is looked at; not where ready hashes or embeddings take their place."""
        return any(not (one.hash_col or one.embedding_col) for one in self.steps)

    @property
    def steps(self) -> tuple[DedupConfig, ...]:
        """The run's stages, each as the options of a run of its own; most runs have one."""
        if not self.stages:
            return (self,)
        return tuple(replace(self, stages=(), **with_preset(one)) for one in self.stages)

    @property
    def background_sets(self) -> tuple[str, ...]:
        """Those of all stages."""
        return tuple(str(one.background_set) for one in self.steps if one.background_set is not None)

    @property
    def step_names(self) -> tuple[str, ...]:
        return tuple(f"{number} {one.method}" for number, one in enumerate(self.steps, 1))

    @property
    def specs(self) -> tuple[HashSpec, ...]:
        """All hashes of a picture: the main one, then those of ``verify``."""
        return (self.spec, *(verify.spec for verify in self.verifies))

    def check(self) -> None:
        """Raises:
        UserError: an option is wrong, alone or beside another.
        """
        # First what an option has no business beside: that its value is wrong, too, does not matter then.
        if self.stages:
            self._check_stages()
        elif self.method in EMBEDDINGS:
            self._check_embeddings()
        else:
            self._check_hashes()
        super().check()
        if self.text_normalize and not self.text_col:
            raise UserError("--text-normalize needs --text-col")
        if not self.hash_col:
            check_threshold(self.spec, self.threshold, "--threshold")

    def _check_hashes(self) -> None:
        alien = self.changed(ONLY_EMBEDDINGS)
        if alien:
            raise UserError(f"{alien[0]} is for embeddings: add --method {' or '.join(EMBEDDINGS)}, or leave it out")
        if PRESETS.get(self.preset or "", {}).get("method") in EMBEDDINGS:
            raise UserError(
                f"--preset {self.preset} compares embeddings, and --method {self.method} makes hashes: leave one out"
            )
        if self.method == "color" and not self.hash_col:
            raise UserError(
                "--method color: of grey pictures it says nothing; use it as --verify color, beside another"
            )
        if self.hash_col and self.preset:
            raise UserError("--preset computes hashes from the image, and --hash-col reads no image: leave one out")
        if self.hash_col and self.verify:
            raise UserError(
                "--verify computes a second hash from the image, and --hash-col reads no image: leave one out"
            )
        if self.view_names:
            self._check_views()

    def _check_views(self) -> None:
        name = self._views_option
        if self.hash_col:
            raise UserError(f"{name} looks at the image anew, and --hash-col reads no image: leave one out")
        for spec in self.specs:
            if spec.method in METHODS and not spec.has_views:
                raise UserError(f"{name}: {spec.method} has no views; choose a hash of a grid, such as phash")

    @property
    def _views_option(self) -> str:
        """What asks for views, as an option."""
        name = "invariant" if self.views in ((), ("whole",)) else "views"
        return f"{flag(name)} {' '.join(getattr(self, name))}"

    def _check_embeddings(self) -> None:
        if self.frames == "all":
            raise UserError("--frames all compares hashes, frame by frame; embeddings are of the first: leave it out")
        alien = self.changed(ONLY_HASHES)
        if PRESETS.get(self.preset or "", {}).get("method") in EMBEDDINGS:
            alien.remove(flag("preset"))
        if alien:
            raise UserError(
                f"{alien[0]} is for hashes, and --method {self.method} compares embeddings, whose threshold is "
                "--similarity: leave it out, or choose a hash method such as phash"
            )

    def _check_stages(self) -> None:
        alien = ["--preset"] if self.preset else self.changed(STAGE_OPTIONS)
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
            if step.view_names:
                raise UserError(
                    f"stage {number}: {step._views_option} does not go with `stages`, which compare whole pictures "
                    "alone: say `views: [whole]` there, and no `invariant`"
                )
            if step.method in EMBEDDINGS and number < len(self.stages):
                raise UserError(f"stage {number}: embeddings cost most, so that they are the last stage or none")

    def check_references(self, index: str | None, against: Sequence[str]) -> None:
        """Raises:
        UserError: the run is one of stages, which know nothing of earlier rows.
        """
        if self.stages and (index or against):
            raise UserError(
                f"{'--index' if index else '--against'} does not go with `stages`: give each stage a run of its "
                "own (with an index of its own), the next one on the kept/ of the one before"
            )
