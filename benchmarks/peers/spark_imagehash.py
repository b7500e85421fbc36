"""Peer: what one would write by hand. imagehash in a ``pandas_udf``, then ``dropDuplicates``.

    pip install pyspark pandas pyarrow pillow imagehash

Pictures cross from the JVM to Python in Spark's default batches, and ``dropDuplicates`` shuffles whole rows.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Iterator

import pandas as pd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--driver-memory", default="4g")
    options = parser.parse_args()
    start = time.perf_counter()  # the JVM's start included

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark.sql import SparkSession
    from pyspark.sql.functions import pandas_udf

    spark = (
        SparkSession.builder.master(options.master)
        .config("spark.driver.memory", options.driver_memory)
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")

    @pandas_udf("string")
    def phash(parts: Iterator[pd.Series]) -> Iterator[pd.Series]:
        import imagehash
        from PIL import Image

        for part in parts:
            yield part.map(lambda data: str(imagehash.phash(Image.open(io.BytesIO(data)))))

    rows = spark.read.parquet(options.input)
    kept = rows.withColumn("hash", phash("image")).dropDuplicates(["hash"])
    kept.write.mode("overwrite").parquet(options.output)
    seconds = time.perf_counter() - start
    pictures, left = rows.count(), spark.read.parquet(options.output).count()
    spark.stop()
    print(json.dumps({"peer": "hand-written", "seconds": round(seconds, 3), "pictures": pictures, "kept": left}))


if __name__ == "__main__":
    main()
