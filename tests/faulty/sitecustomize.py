"""Python workers of a Spark that ``runs.py`` has started find this on their path."""

import os
import sys

if "IMGDEDUP_FAULTS" in os.environ and "IMGDEDUP_FAULTS_DRIVER" not in os.environ and "-m" in sys.orig_argv:
    from storage_faults import install

    install()
