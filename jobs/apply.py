"""spark-submit jobs/apply.py --output DIR --duplicates FILE: writes kept/ by a reviewed table."""

import sys

from imgdedup_spark.cli import main

if __name__ == "__main__":
    sys.exit(main(["apply", *sys.argv[1:]]))
