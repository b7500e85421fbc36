"""spark-submit jobs/dedup.py --input PATH… --output DIR [options]"""

import sys

from imgdedup_spark.cli import main

if __name__ == "__main__":
    sys.exit(main())
