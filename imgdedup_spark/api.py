"""The job as Python calls: ``deduplicate`` for DataFrames, ``hash_bytes`` for one picture."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql.utils import is_remote

from imgdedup_spark.causes import in_one_line
from imgdedup_spark.clock import Clock
from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.config.wording import in_words_of_python
from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.hash.small import MOST_BYTES, MOST_ROWS
from imgdedup_spark.hash.stage import prints_of
from imgdedup_spark.hash.vectors import check_models
from imgdedup_spark.index.manifest import Index
from imgdedup_spark.index.references import Past
from imgdedup_spark.keep.found import Found
from imgdedup_spark.kernels.hashes import HashSpec, validate
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.reading import DEFAULT_MAX_PIXELS, Decode
from imgdedup_spark.read.frames import frame_source, places_of_call
from imgdedup_spark.spark.local import to_driver
from imgdedup_spark.spark.progress import shown_in_notebook
from imgdedup_spark.spark.stores import open_stores
from imgdedup_spark.spark.workspace import FolderWorkspace, SessionWorkspace, Workspace
from imgdedup_spark.stages import find_in_stages
from imgdedup_spark.write import tables
from imgdedup_spark.write.additions import begin
from imgdedup_spark.write.apart import check_call
from imgdedup_spark.write.summary import summarize

if TYPE_CHECKING:
    from imgdedup_spark.report.gallery import Gallery

#: Pairs that a result shows of itself.
_SHOWN = 4
#: Of an embedding of 1,024 numbers.
_VECTOR_BYTES = 4096


class DedupResult:
    """What ``deduplicate`` found. The tables are DataFrames with the columns of the output folder's. Of few rows a
    notebook shows them as tables with pictures, where these can be had."""

    def __init__(self, found: Found, clock: Clock, work: Workspace) -> None:
        self._result: Found | None = found
        self._clock, self._work = clock, work
        self._html: str | None = None

    @property
    def _found(self) -> Found:
        if self._result is None:
            raise UserError("this result was closed and its tables are gone; read them, or write them, before close()")
        return self._result

    @property
    def kept(self) -> DataFrame:
        """Exactly the input's columns, of the rows that stay; with ``emit_hashes`` ``imagehash``, ``texthash`` and, for
        embeddings, ``max_similarity`` too."""
        id_col = self._found.placed.id_col
        return self._shown(tables.kept(self._found), *([id_col] if id_col else []), pictures=True)

    @property
    def duplicates(self) -> DataFrame:
        """``id``, ``kept_id``, ``distance``, ``similarity``, ``reason``; one row for every row dropped. With views
        ``view`` and ``kept_view`` too, with ``stages`` ``stage`` and ``via_id``."""
        return self._shown(tables.duplicates(self._found), "id", "kept_id")

    @property
    def errors(self) -> DataFrame:
        """``id``, ``position``, ``error``, ``message``, ``level``; one row for every unreadable image (``error``) and
        for whatever is wrong with a readable one (``warning``)."""
        return self._shown(tables.errors(self._found))

    @property
    def hashes(self) -> DataFrame:
        """``id``, ``imagehash``, ``texthash``, ``width``, ``height``, ``bytes``, ``quality`` and, for embeddings,
        ``embedding``; one row for every row."""
        return self._shown(tables.hashes(self._found), "id")

    def pairs(self, count: int = 20) -> DataFrame:
        """One pair of rows of each of the ``count`` largest groups: ``kept``, ``dropped``, ``distance``,
        ``reason``, ``group_size``."""
        from imgdedup_spark.report.table import shows_pairs

        return shows_pairs(tables.pairs(self._found, count), self._found, count)

    def summary(self) -> dict[str, Any]:
        """What summary.json holds."""
        return summarize(self._found, self._clock.stages)

    def gallery(self, count: int = 12) -> Gallery:
        """The pairs of ``pairs(count)`` as pictures side by side, for a notebook. Where the input is not in files whose
        rows can be picked out, all of its rows are read once more for it."""
        from imgdedup_spark.report.gallery import gallery

        return gallery(self._found, count)

    def _shown(self, frame: DataFrame, *ids: str, pictures: bool = False) -> DataFrame:
        from imgdedup_spark.report.table import shows_rows

        return shows_rows(frame, self._found, ids, pictures=pictures)

    def _repr_html_(self) -> str:
        """The counts, and a few pairs where they can be had cheaply, for a notebook; made once."""
        if self._result is None:
            return "<p>DedupResult, closed</p>"
        if self._html is None:
            from imgdedup_spark.report.brief import brief
            from imgdedup_spark.report.gallery import is_cheap

            self._html = brief(self._result)
            if is_cheap(self._result):
                # What a notebook shows of itself must not fail.
                with suppress(Exception):
                    self._html += self.gallery(_SHOWN).html
        return self._html

    def report(self, path: str | None = None) -> str:
        """The report as one page of HTML that needs nothing else (``--report``); some hundred pictures are read again
        for it.

        Args:
            path: a file to write it to as well, on any file system.

        Raises:
            UserError: the file cannot be written.
        """
        from imgdedup_spark.report.make import make_report
        from imgdedup_spark.report.outcome import Outcome

        duplicates, hashes, errors = map(to_driver, (self.duplicates, self.hashes, self.errors))
        page = make_report(self._found, Outcome.of(duplicates, hashes, errors, self.summary()))
        if path is not None:
            storage.write_text(path, page)
        return page

    def close(self) -> None:
        """Lets go of what was persisted or staged: no table can be asked for after it, and those that were may be gone.
        Twice is as once."""
        if self._result is not None:
            self._result = None
            self._work.close()


@in_words_of_python()
@in_one_line()
def deduplicate(
    df: DataFrame,
    config: DedupConfig | None = None,
    *,
    id_col: str | None = None,
    staging: str | None = None,
    index: str | None = None,
    against: Sequence[str] = (),
    run_id: str | None = None,
    index_single_writer: bool = False,
) -> DedupResult:
    """Finds duplicates among the rows of a DataFrame, of classic Spark or Spark Connect.

    Args:
        df: any DataFrame. Rows straight from Parquet files keep the files' order; others are ordered by
            ``id_col``. Without either, rows are numbered as they come and the DataFrame is persisted.
        config: how duplicates are found; ``DedupConfig()`` finds equal images in ``images`` or ``image``.
        id_col: the rows' own id, unique and not null; wins over ``config.id_col``.
        staging: a folder that all executors reach, for intermediate tables, which go into a new folder in it. Without
            it they are persisted in the session, which some serverless platforms refuse.
        index: a folder, as ``--index``: rows that it knows are dropped, and those kept have been added to it when
            this call returns.
        against: data sets and indexes, as ``--against``: rows found there are dropped.
        run_id: names this run in the index. Give one, so that a call that is repeated, because what came after it
            failed, replaces what it had added.
        index_single_writer: no other run adds to the index meanwhile; for stores that cannot see to that.

    Raises:
        UserError: an option or a column is wrong, or the index was made with other options, or its store needs
            ``index_single_writer``.
        JobError: ``on_error="fail"`` and an image is unreadable; another run has changed the index meanwhile; or
            Spark's workers have no package of this name.
    """
    config = config or DedupConfig()
    if id_col is not None:
        config = replace(config, id_col=id_col)
    config.check()
    config.check_references(index, against)
    check_models(config)
    open_stores(df.sparkSession, places_of_call(df, config, staging, index, against))
    if run_id is not None and index is None:
        raise UserError("run_id: it names a run in an index, and needs index")
    check_call(df, config, staging, index, against)
    clock = Clock()
    addition = None
    work = _workspace(df, config, staging, index, against)
    try:
        if index is not None:
            where = f"index {index}"
            addition = begin(Index(index), prints_of(config), run_id, where, alone=index_single_writer)
        past = Past([(path, path) for path in against], index=addition.past if addition else None)
        with shown_in_notebook(df.sparkSession):
            found = find_in_stages(frame_source(df, config.id_col, work.freeze), config, work, clock, past)
            if addition is not None:
                addition.add(found, work.stage)
    except BaseException:
        work.close()
        raise
    return DedupResult(found, clock, work)


def _workspace(
    df: DataFrame, config: DedupConfig, staging: str | None, index: str | None, against: Sequence[str]
) -> Workspace:
    if staging is not None:
        return FolderWorkspace(staging)
    # Platforms that speak Spark Connect may refuse to persist, and the prints of a few rows need it not.
    most = MOST_BYTES // _VECTOR_BYTES if config.is_embedding else MOST_ROWS
    return SessionWorkspace(held=is_remote() and index is None and not against and df.count() <= most)


@in_words_of_python()
def hash_bytes(
    data: bytes,
    method: str = "phash",
    hash_size: int = 8,
    *,
    decode: Decode = "exact",
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> str:
    """The hash of one picture, as lower-case hex; no Spark.

    Args:
        data: the picture's file, whole.
        decode: ``exact`` gives the imagehash package's bits; ``fast`` those of a job run with ``--decode fast``.

    Raises:
        UserError: an unknown method or an impossible size.
        ImageError: the picture cannot be read.
    """
    spec = HashSpec(method, hash_size)
    validate(spec)
    prints = Hasher([spec], decode, max_pixels).hash_batch([data])
    if prints.errors:
        raise prints.errors[0]
    value = prints.hashes[0][0]
    assert value is not None
    return value
