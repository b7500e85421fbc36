"""Peer: Daft's own ``image_hash``, then the first row of each hash.

pip install "daft>=0.7,<0.8"
"""

from __future__ import annotations

import argparse
import json
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    options = parser.parse_args()
    start = time.perf_counter()

    import daft
    from daft.functions import decode_image, image_hash

    rows = daft.read_parquet(f"{options.input}/*.parquet")
    # Only ids go through the grouping, and the kept pictures are read again: Daft's best plan, as ours.
    hashes = rows.select(daft.col("id"), image_hash(decode_image(daft.col("image"), mode="L")).alias("hash"))
    first = hashes.groupby("hash").agg(daft.col("id").min())
    kept = rows.join(first.select("id"), on="id", how="semi")
    kept.write_parquet(options.output, write_mode="overwrite")
    seconds = time.perf_counter() - start
    pictures = rows.count_rows()
    left = daft.read_parquet(f"{options.output}/*.parquet").count_rows()
    print(json.dumps({"peer": "Daft", "seconds": round(seconds, 3), "pictures": pictures, "kept": left}))


if __name__ == "__main__":
    main()
