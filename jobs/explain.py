"""python jobs/explain.py --output DIR ID: why a row went or stayed."""

import sys

from imgdedup_spark.cli import main

if __name__ == "__main__":
    sys.exit(main(["explain", *sys.argv[1:]]))
