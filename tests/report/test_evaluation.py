"""The page and the text of an evaluation."""

from __future__ import annotations

from imgdedup_spark.report.evaluation import evaluation_page, evaluation_text

SHARE = [0.5, 0.25, 0.75]
SUMMARY = {
    "rows": 1000, "pairs": 20, "groups": 8, "by": "threshold", "method": "phash", "given": 8, "truth": "<b>.csv",
    "rows_with_errors": 1, "unknown_ids": 2,
    "scores": [
        {"at": at, "recall": SHARE, "precision": [None] * 3 if at == 0 else SHARE, "f1": SHARE, "found": 10,
         "missed": 10, "false": 1000, "kinds": {"<i>crop": SHARE}}
        for at in (0, 8)
    ],
    "chosen": {"at": 8, "recall": SHARE, "precision": SHARE, "f1": SHARE},
}  # fmt: skip


def test_text():
    lines = evaluation_text(SUMMARY).splitlines()
    assert lines[0] == "1,000 rows, 20 pairs of copies in 8 groups (<b>.csv)"
    assert lines[4].split() == ["8", *["0.500", "(0.250-0.750)"] * 3, "10", "1,000", "<-", "given"]
    assert "  <i>crop: 0.500 (0.250-0.750)" in lines
    assert lines[-1] == "ids of the truth that are no row's, whose pairs do not count: 2"


def test_page():
    page = evaluation_page(SUMMARY)
    assert "<b>.csv" not in page and "&lt;b&gt;.csv" in page and "&lt;i&gt;crop" in page
    assert page.count("<polyline") == 3
    plain = {**SUMMARY, "scores": [{k: v for k, v in one.items() if k != "kinds"} for one in SUMMARY["scores"]]}
    assert "Recall by kind" not in evaluation_page(plain)
