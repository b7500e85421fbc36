"""Peer: immaculate, a Rust program that finds pictures with equal pHashes in a folder, and moves nothing.

    pip install immaculate        # Python 3.12 or newer

It has no output but its list; that is written to a file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--input", required=True)
parser.add_argument("--output", type=Path, required=True)
options = parser.parse_args()
program = Path(sys.executable).with_name("immaculate")
found = subprocess.run([program, "--json", "--method", "phash", options.input], check=True, stdout=subprocess.PIPE)
options.output.mkdir(parents=True)
(options.output / "groups.json").write_bytes(found.stdout)
groups = json.loads(found.stdout)
print({kind: len(members) for kind, members in groups.items()})
