"""``ImageHasher``: the hash of an image column as a ``pyspark.ml`` Transformer, for pipelines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
from pyspark import keyword_only
from pyspark.ml import Transformer
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasInputCol, HasOutputCol
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, StringType, StructType

from imgdedup_spark.errors import UserError
from imgdedup_spark.hash.isolated import Isolated
from imgdedup_spark.hash.worker import HashPictures
from imgdedup_spark.kernels.hashes import HashSpec, validate
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.paths import PathRules
from imgdedup_spark.kernels.pictures.reader import PictureReader
from imgdedup_spark.kernels.pictures.reading import DEFAULT_MAX_PIXELS
from imgdedup_spark.read.columns import IMAGE_TYPES, col, is_image_type


class ImageHasher(Transformer, HasInputCol, HasOutputCol, DefaultParamsReadable, DefaultParamsWritable):
    """Adds the hash of each row's image, or images one after another, as lower-case hex.

    Null where there is no image or one cannot be read. Several images in a row are hashed in list order.
    On Spark 3.5, where Arrow batches cannot be bounded by bytes, set
    ``spark.sql.execution.arrow.maxRecordsPerBatch`` to about 64 for large images.
    """

    method = Param(Params._dummy(), "method", "hash method", TypeConverters.toString)
    hashSize = Param(Params._dummy(), "hashSize", "N×N bits for the methods that have one", TypeConverters.toInt)
    decode = Param(Params._dummy(), "decode", "fast or exact", TypeConverters.toString)
    imageRoot = Param(Params._dummy(), "imageRoot", "where relative image paths start", TypeConverters.toString)
    allowStore = Param(Params._dummy(), "allowStore", "other stores that rows may name", TypeConverters.toListString)

    @keyword_only
    def __init__(
        self,
        *,
        inputCol: str = "image",
        outputCol: str = "hash",
        method: str = "phash",
        hashSize: int = 8,
        decode: str = "fast",
        imageRoot: str = "",
        allowStore: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._setDefault(inputCol="image", outputCol="hash", method="phash", hashSize=8, decode="fast", imageRoot="")
        self._setDefault(allowStore=[])
        self._set(**self._input_kwargs)

    def setInputCol(self, value: str) -> ImageHasher:
        return self._set(inputCol=value)

    def setOutputCol(self, value: str) -> ImageHasher:
        return self._set(outputCol=value)

    def setMethod(self, value: str) -> ImageHasher:
        return self._set(method=value)

    def setHashSize(self, value: int) -> ImageHasher:
        return self._set(hashSize=value)

    def setDecode(self, value: str) -> ImageHasher:
        return self._set(decode=value)

    def setImageRoot(self, value: str) -> ImageHasher:
        return self._set(imageRoot=value)

    def setAllowStore(self, value: Sequence[str]) -> ImageHasher:
        return self._set(allowStore=list(value))

    def _transform(self, dataset: DataFrame) -> DataFrame:
        name = self.getInputCol()
        if name not in dataset.columns:
            raise UserError(f"inputCol: there is no column `{name}`; the input has {', '.join(dataset.columns)}")
        kind = dataset.schema[name].dataType
        if not is_image_type(kind):
            raise UserError(f"inputCol {name}: expected {IMAGE_TYPES}; found {kind.simpleString()}")
        spec = HashSpec(self.getOrDefault(self.method), self.getOrDefault(self.hashSize))
        validate(spec)
        root = self.getOrDefault(self.imageRoot)
        work = HashPictures(
            Isolated(Hasher([spec], self.getOrDefault(self.decode), DEFAULT_MAX_PIXELS)),
            PictureReader(PathRules((root,), bool(root), tuple(self.getOrDefault(self.allowStore)))),
        )
        hashed = F.pandas_udf(_hash_series(work, _arrow_type(kind)), StringType())
        return dataset.withColumn(self.getOutputCol(), hashed(col(name)))


def _hash_series(work: HashPictures, kind: pa.DataType) -> Callable[[pd.Series], pd.Series]:
    def hash_series(images: Any) -> Any:
        if isinstance(images, pd.DataFrame):
            values = images.where(images.notna(), None).to_dict("records")
        else:
            values = [None if one is None else _plain(one) for one in images]
        batch = pa.RecordBatch.from_arrays([pa.array(values, kind)], ["image"])
        hashed = work.hash(batch)
        none = [count == 0 for count in hashed.column("images").to_pylist()]
        found = hashed.column("imagehash").to_pylist()
        return pd.Series([None if empty else one for empty, one in zip(none, found, strict=True)], dtype=object)

    # PySpark reads the kind of UDF from the hints: a struct column arrives as a DataFrame.
    hash_series.__annotations__ = {
        "images": pd.DataFrame if pa.types.is_struct(kind) else pd.Series,
        "return": pd.Series,
    }
    return hash_series


def _plain(value: Any) -> Any:
    """pandas gives lists as arrays and structs in them as Rows; pyarrow takes lists and dicts."""
    if isinstance(value, bytes | bytearray | str | dict):
        return value
    return [one.asDict() if hasattr(one, "asDict") else one for one in value]


def _arrow_type(kind: DataType) -> pa.DataType:
    if isinstance(kind, ArrayType):
        return pa.list_(_arrow_type(kind.elementType))
    if isinstance(kind, StructType):
        return pa.struct([(one.name, _arrow_type(one.dataType)) for one in kind.fields])
    return pa.string() if isinstance(kind, StringType) else pa.binary()
