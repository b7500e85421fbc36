"""The least that a Spark job over pictures can do: reads them, has Python look at them, writes a number for each."""

import argparse

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession


def lengths(batches):
    for batch in batches:
        yield pa.RecordBatch.from_arrays([pc.binary_length(batch.column(0)).cast(pa.int64())], ["length"])


parser = argparse.ArgumentParser()
parser.add_argument("--input", required=True)
parser.add_argument("--output", required=True)
options = parser.parse_args()
spark = SparkSession.builder.getOrCreate()
frame = spark.read.parquet(options.input).select("image")
if frame.schema["image"].dataType.typeName() == "struct":
    frame = frame.select("image.bytes")
frame.mapInArrow(lengths, "length bigint").write.mode("overwrite").parquet(options.output)
spark.stop()
