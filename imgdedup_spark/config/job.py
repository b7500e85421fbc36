"""A whole job: what it reads, where it writes, and how it deduplicates."""

from __future__ import annotations

from dataclasses import dataclass, field

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.config.options import Section, option
from imgdedup_spark.config.sections import (
    EmbeddingOptions,
    HashOptions,
    InputOptions,
    KeepOptions,
    MatchOptions,
    OutputOptions,
)
from imgdedup_spark.errors import UserError

#: What imgdedup-fingerprint has no use for. It takes ``keep``, the order of the rows in the index; ``verify``, whose
#: hashes the index holds; and ``threshold``, which ``verify`` cannot do without and ready hashes are checked against.
NOT_FOR_FINGERPRINTS = (
    "output", "output_format", "output_table", "mark", "report", "metrics", "overwrite", "show_num",
    "emit_hashes", "against", "similarity", "background_set", "never",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class JobInput(Section):
    """What is read."""

    input: tuple[str, ...] = option(
        (), "files, folders or globs; several are one data set in the order given", nargs="+", metavar="PATH"
    )
    input_format: str | None = option(
        None,
        "`parquet`, `jsonl`, `csv`, `list`, `images`, `webdataset` (tar) or any Spark data source (default: by ending)",
        metavar="FORMAT",
    )
    count_hard_links: bool = option(
        False, "every name of a file on disk is a row of its own, hard links too", action="store_true"
    )
    strict: bool = option(False, "anything passed over in the input is a mistake (exit status 2)", action="store_true")

    def check(self) -> None:
        super().check()
        if not self.input:
            raise UserError("--input is required: name at least one file, folder or glob")


@dataclass(frozen=True, kw_only=True)
class JobOutput(Section):
    """Where the result goes."""

    output: str = option("", "folder for the result; refuses a non-empty one unless --overwrite", metavar="DIR")
    output_format: str | None = option(
        None,
        "`parquet`, `jsonl`, `delta`, `iceberg`, `lance` or `table`, for kept/ (default: the input's, `jsonl` for "
        "images); tar shards stay `webdataset`",
        choices=("parquet", "jsonl", "webdataset", "delta", "iceberg", "lance", "table"),
    )
    output_table: str | None = option(
        None, "for `--output-format table`: the table that the kept rows go to", metavar="NAME"
    )
    mark: str | None = option(
        None, "writes marks/ for a MERGE and no kept/: each row's id, and true in this column if it stays",
        metavar="COLUMN",
    )  # fmt: skip
    dry_run: bool = option(False, "read and report, write no kept/", action="store_true")
    #: Off: it reads some hundred pictures again.
    report: bool = option(False, "write report.html: the result to look at, doubtful groups first", action="store_true")
    overwrite: bool = option(False, "replace an existing output", action="store_true")


@dataclass(frozen=True, kw_only=True)
class JobIndex(Section):
    """What the rows are compared with besides each other."""

    index: str | None = option(
        None, "fingerprints of all that was kept so far: rows are compared with it and added to it", metavar="DIR"
    )
    against: tuple[str, ...] = option(
        (), "data sets or indexes to compare with, read only: rows found there are dropped", nargs="+", metavar="DIR"
    )
    run_id: str | None = option(
        None, "names this run in the index; the same id again replaces what that run had added", metavar="ID"
    )
    index_single_writer: bool = option(
        False, "no other run adds to the index meanwhile: for stores that cannot see to that", action="store_true"
    )

    def check(self) -> None:
        super().check()
        if self.run_id is not None and self.index is None:
            raise UserError("--run-id names a run in an index: it needs --index")
        if self.index_single_writer and self.index is None:
            raise UserError("--index-single-writer tells of an index: it needs --index")
        if self.run_id == "":
            raise UserError("--run-id: an id has at least one character")


@dataclass(frozen=True, kw_only=True)
class JobLogs(Section):
    """What is told while the job runs, and to whom."""

    quiet: bool = option(False, "tell warnings and errors alone", action="store_true")
    log_format: str = option("text", "`json`: one object a line", choices=("text", "json"))
    metrics: str | None = option(None, "write the summary as a text file for Prometheus too", metavar="FILE")


#: All options, in the order of the flow.
SECTIONS: dict[str, tuple[type[Section], ...]] = {
    "input": (JobInput, InputOptions),
    "hash": (HashOptions,),
    "match": (MatchOptions,),
    "keep": (KeepOptions,),
    "output": (JobOutput, OutputOptions),
    "index": (JobIndex,),
    "embeddings": (EmbeddingOptions,),
    "logs": (JobLogs,),
}


@dataclass(frozen=True, kw_only=True)
class JobConfig(JobLogs, JobIndex, JobOutput, JobInput):
    """A whole job: what it reads, where it writes, and a `DedupConfig`."""

    dedup: DedupConfig = field(default_factory=DedupConfig)

    def check(self, *, fingerprint: bool = False) -> None:
        """Args:
            fingerprint: whether the job makes an index and has no other output.

        Raises:
            UserError: an option is wrong, alone or beside another.
        """
        super().check()
        if fingerprint:
            self._check_fingerprint()
        else:
            self._check_output()
        self.dedup.check_references(self.index, self.against)
        self.dedup.check()

    def _check_output(self) -> None:
        if not self.output:
            raise UserError("--output is required: name the folder to write")
        if (self.output_format == "table") != (self.output_table is not None):
            raise UserError("--output-format table and --output-table NAME go together")
        if self.mark is not None and self.output_format is not None:
            raise UserError("--mark writes no kept/: leave --output-format out")
        if self.mark is not None and self.dedup.id_col in (None, self.mark):
            raise UserError("--mark needs --id-col, by which a MERGE finds the rows, and another column than that")

    def _check_fingerprint(self) -> None:
        if not self.index:
            raise UserError("--index is required: name the folder of the index to make or to add to")
        unused = [*self.changed(NOT_FOR_FINGERPRINTS), *self.dedup.changed(NOT_FOR_FINGERPRINTS)]
        if unused:
            raise UserError(f"{unused[0]} is an option of imgdedup; this command only makes an index: leave it out")
