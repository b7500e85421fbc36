"""spark-submit jobs/advise.py --input PATH… [options]: what each threshold of some methods would drop."""

import sys

from imgdedup_spark.cli import main

if __name__ == "__main__":
    sys.exit(main(["advise", *sys.argv[1:]]))
