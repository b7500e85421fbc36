"""spark-submit jobs/fingerprint.py --input PATH… --index DIR [options]: makes an index without deduplicating."""

import sys

from imgdedup_spark.cli import fingerprint_main

if __name__ == "__main__":
    sys.exit(fingerprint_main())
