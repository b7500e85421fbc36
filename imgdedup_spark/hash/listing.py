"""The files of a source, and the signature of everything else that their prints depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyspark.sql import functions as F

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.hash.encoder import encoder_spec
from imgdedup_spark.kernels.encoders.models import identity
from imgdedup_spark.read.columns import image_column, row_terms
from imgdedup_spark.read.source import Source

#: A file that was hashed: signature of the options, number of the input, URI, size in bytes, time in milliseconds.
File = tuple[str, int, str, int, int]


@dataclass(frozen=True)
class Rest:
    """The rows of a source that are still to be looked at.

    Attributes:
        of: a source of all or some of the files → what of it is left.
        name: tells one such rest from another.
    """

    of: Callable[[Source], Source]
    name: str


def list_source_files(source: Source, config: DedupConfig, rest: Rest | None) -> list[File]:
    """Every file of the inputs; a folder of images as one entry, because it may hold too many. None where a table
    format alone knows its files."""
    spark = source.frame.sparkSession
    files: list[File] = []
    if not source.read_as and source.format != "images":
        return files
    for number, path in enumerate(source.inputs):
        signature = _signature(source, config, number, rest)
        listed = (
            spark.read.format("binaryFile")
            .option("recursiveFileLookup", "true")
            .load(path)
            .select(
                F.col("_metadata.file_path").alias("uri"),
                F.col("_metadata.file_size").alias("size"),
                (F.col("_metadata.file_modification_time").cast("double") * 1000).cast("long").alias("time"),
            )
        )
        if source.format == "images":
            all_of_it = F.expr("bit_xor(xxhash64(uri, size, time))")
            found = listed.agg(F.sum("size").alias("size"), all_of_it.alias("all")).collect()[0]
            files.append((signature, number, path, found["size"] or 0, found["all"] or 0))
        else:
            rows = sorted((row["uri"], row["size"], row["time"]) for row in listed.collect())
            files += [(signature, number, *row) for row in rows]
    return files


def _specs(config: DedupConfig) -> list[tuple[str, Any]]:
    if config.is_embedding:
        return [(config.method, None if config.embedding_col else identity(encoder_spec(config).model))]
    return [(one.method, one.size) for one in config.specs]


def _signature(source: Source, config: DedupConfig, number: int, rest: Rest | None) -> str:
    """Of everything but the files that a fingerprint depends on."""
    schema = source.schema
    image = image_column(schema, config)
    names = [image, config.id_col, config.text_col, config.hash_col, config.embedding_col, *row_terms(config)]
    content = {
        "columns": [(name, schema[name].dataType.json()) for name in names if name],
        "text": config.text_normalize,
        **_picture_options(config),
        "format": source.format,
        # Relative paths start there.
        "root": config.image_root or source.roots[number].folder,
        # The names of a folder's pictures depend on what the other inputs are.
        "inputs": source.inputs if source.format == "images" else (),
        **({"rest": rest.name} if rest else {}),
    }
    return _digest(content)


def signature_of_pictures(config: DedupConfig) -> str:
    """Of everything but its bytes that a picture's hash depends on."""
    return _digest(_picture_options(config))


def _picture_options(config: DedupConfig) -> dict[str, Any]:
    from imgdedup_spark.versions import versions

    return {
        "specs": _specs(config),
        "decode": config.decode,
        "max_pixels": config.max_pixels,
        "versions": versions(models=config.is_embedding),
    }


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
