"""spark-submit jobs/leaks.py --train PATH… --test PATH… [options]: which rows of each split are in which other."""

import sys

from imgdedup_spark.cli import main

if __name__ == "__main__":
    sys.exit(main(["leaks", *sys.argv[1:]]))
