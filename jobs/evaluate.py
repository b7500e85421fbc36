"""spark-submit jobs/evaluate.py --input PATH… --truth FILE [options]: recall and precision by threshold."""

import sys

from imgdedup_spark.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
