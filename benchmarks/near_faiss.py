"""Times faiss on the same hashes; ``near.py`` starts it with the Python of faiss's own environment.

    near_faiss.py HASHES.npy COUNT THRESHOLD flat|multihash QUERIES…

Prints JSON: for every number of queries, the seconds of ``range_search`` for so many of the hashes among all of them.
"""

from __future__ import annotations

import json
import sys
import time

import faiss
import numpy as np

path, count, threshold, kind, *numbers = sys.argv[1:]
faiss.omp_set_num_threads(2)
hashes = np.ascontiguousarray(np.load(path, mmap_mode="r")[: int(count)])
bits = 8 * hashes.shape[1]
started = time.perf_counter()
index = faiss.IndexBinaryFlat(bits) if kind == "flat" else faiss.IndexBinaryMultiHash(bits, 16, 16)
index.add(hashes)
result = {"version": faiss.__version__, "build": time.perf_counter() - started, "search": {}}
# faiss means "smaller than the radius".
index.range_search(hashes[:100], int(threshold) + 1)
for queries in map(int, numbers):
    started = time.perf_counter()
    limits, _, _ = index.range_search(hashes[:queries], int(threshold) + 1)
    result["search"][queries] = time.perf_counter() - started
    result["found"] = int(limits[-1])
print(json.dumps(result))
