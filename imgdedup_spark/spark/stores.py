"""How the stores of a run are opened, found out by trying on what really lies there, before any work begins.

Workers read a store themselves where they can: with the keys that Spark has for it, or with what their own libraries
find in the environment. Where neither opens it, Spark's JVM reads and writes for them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import fs
from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.files import access, storage
from imgdedup_spark.files.access import UNKNOWN, Store, Way
from imgdedup_spark.spark import s3a
from imgdedup_spark.spark.hadoop import default_file_system, root_of, serve_storage, why_not_by_spark
from imgdedup_spark.spark.worker_jvm import OwnJvm

log = logging.getLogger("imgdedup")
DIRECT, SPARK = "direct", "spark"


@dataclass(frozen=True)
class Place:
    """Something on a store that a run will open.

    Attributes:
        named: what an error calls it: ``--input s3a://lake/in``.
        uri: plain, and no glob.
    """

    named: str
    uri: str


def open_stores(spark: SparkSession, places: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Finds out how each store is opened, for this process and for what it sends to the workers.

    Args:
        places: the options and the plain paths, URLs or globs given to them; local ones need nothing.

    Returns:
        ``scheme://authority`` as the user has written it → ``direct`` (by the workers) or ``spark``.

    Raises:
        UserError: nothing opens a store; the keys for it are wrong, say.
    """
    serve_storage()
    access.use({})
    return open_more(spark, places)


def open_more(spark: SparkSession, places: Iterable[tuple[str, str]]) -> dict[str, str]:
    """As ``open_stores``, beside what is open."""
    stores: dict[Store, list[Place]] = {}
    ways = access.used()
    for option, path in places:
        uri = _whole(path)
        store = storage.split_uri(uri)[:2]
        if uri.endswith("://"):  # all of a scheme: nothing that could be tried
            ways[store] = next((way for way, _ in _direct_ways(spark, store)), UNKNOWN)
        elif not storage.is_local(uri) and store not in ways:
            stores.setdefault(store, []).append(Place(f"{option} {path}", _before_globs(uri)))
    found = {}
    for store, named in stores.items():
        ways[store], how = _way(spark, store, named)
        root = root_of(named[0].uri)
        found[root] = SPARK if ways[store].by_spark else DIRECT
        log.info("%s is opened %s", root, how)
    access.use(ways)
    return found


def _way(spark: SparkSession, store: Store, places: list[Place]) -> tuple[Way, str]:
    """A way to a store, and how that is told.

    Raises:
        UserError: there is none.
    """
    problem = ""
    for way, how in _direct_ways(spark, store):
        problem = _try(store, way, places) or _try_in_worker(spark, store, way, places)
        if not problem:
            return way, f"directly, {how}"
    way = Way(by_spark=True, root=root_of(places[0].uri), in_worker=OwnJvm.of(spark))
    if is_remote():  # Spark's reader and writer alone can tell
        return way, f"by Spark: {problem}"
    access.use({store: way})
    for place in places:
        refused = why_not_by_spark(place.uri)
        if refused:
            raise UserError(f"{place.named}: cannot be opened, neither directly nor by Spark: {refused}")
    return way, f"by Spark: {problem}" if problem else "by Spark, as its settings ask for"


def _direct_ways(spark: SparkSession, store: Store) -> Iterator[tuple[Way, str]]:
    if store[0] != "s3":
        yield UNKNOWN, "by a library of the workers"
        return
    settings = s3a.settings_for(spark, store[1])
    if settings.needs_spark:
        return
    if settings.keys is not None:
        yield Way(s3=settings.arguments(store[1])), "with the keys that Spark has for it"
    elif settings.endpoint or settings.region:
        yield Way(s3=settings.arguments(store[1])), "with what the environment has, where Spark's settings say"
    else:
        yield UNKNOWN, "with what the environment has"


def _try(store: Store, way: Way, places: list[Place]) -> str:
    """What is in the way of opening these places so, in this process; empty if nothing is."""
    before = access.used()
    access.use({store: way})
    try:
        for place in places:
            storage.check_workers(place.uri)
            _look(*storage.open_fs(place.uri))
    except (UserError, OSError, pa.ArrowException) as error:  # Arrow's own where Azure finds no credentials
        return first_line(error)
    finally:
        access.use(before)
    return ""


def _look(opened: fs.FileSystem, path: str) -> None:
    """Looks up what lies there and, where that is a file or has some, reads from one."""
    info = opened.get_file_info(path)
    if info.type == fs.FileType.Directory:
        below = opened.get_file_info(fs.FileSelector(path))
        info = next((one for one in below if one.is_file), info)
    if info.is_file:
        with opened.open_input_stream(info.path, compression=None) as stream:
            stream.read(1)


def _try_in_worker(spark: SparkSession, store: Store, way: Way, places: list[Place]) -> str:
    """The same in a worker, which may stand in another network, or have other rights."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                yield pa.RecordBatch.from_pydict({"problem": [_try(store, way, places)]})

    found = spark.range(0, 1, 1, 1).mapInArrow(work, "problem string").collect()
    return f"workers: {found[0]['problem']}" if found[0]["problem"] else ""


def _whole(path: str) -> str:
    """With the cluster's default file system, which a path without a scheme is on."""
    base = default_file_system()
    return f"{base}/{path.lstrip('/')}" if base and storage.is_local(path) and not path.startswith("file:") else path


def _before_globs(uri: str) -> str:
    """The folder that a glob starts from."""
    stem = min((uri.find(one) for one in "*?[{" if one in uri), default=len(uri))
    return uri if stem == len(uri) else uri[: uri.rindex("/", 0, stem) + 1]
