"""Says in a few lines what a run kept and dropped, and where it lies: python demo/show.py OUTPUT"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq


def main(output: Path) -> None:
    summary = json.loads((output / "summary.json").read_text("utf-8"))
    print(
        f"\n{summary['rows_in']} rows in: {summary['rows_kept']} kept, {summary['rows_dropped']} dropped as duplicates "
        f"in {summary['groups']} groups, {summary['rows_with_errors']} with an unreadable image\n"
    )
    duplicates = pq.read_table(output / "duplicates").to_pylist()
    reasons = Counter((row["reason"], f"{row['distance']:g}") for row in duplicates)
    for (reason, distance), count in sorted(reasons.items(), key=lambda one: float(one[0][1])):
        print(f"  {count:4d} dropped: {reason}, {distance} bits from the row kept")
    for line in (output / "pairs" / "part-00000.jsonl").read_text("utf-8").splitlines()[:5]:
        pair = json.loads(line)
        kept, dropped = pair["kept"], pair["dropped"]
        print(f"  e.g. row {dropped['id']} ({dropped['path']}) dropped for row {kept['id']} ({kept['path']})")
    for row in pq.read_table(output / "errors").to_pylist():
        print(f"  row {row['id']} kept with an unreadable image: {row['error']}")
    print("\nWhere it lies:")
    for name, what in (
        ("kept", "the rows kept, exactly the input's columns and values"),
        ("duplicates", "what was dropped, for which row, how far apart"),
        ("pairs", "samples to look at"),
        ("errors", "images that could not be read"),
        ("hashes", "every row's hash and size"),
        ("report.html", "all of it to look at: open it in a browser"),
        ("summary.json", "the counts, times, options and versions"),
    ):
        print(f"  {output / name}  {what}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
