"""A whole job: what it reads, where it writes, and how it deduplicates."""

from __future__ import annotations

from dataclasses import dataclass, field

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.config.values import option
from imgdedup_spark.errors import UserError


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
