"""Options of ``imgdedup leaks``: which splits there are and what they are called."""

from __future__ import annotations

import pytest

from imgdedup_spark.commands import leaks
from imgdedup_spark.errors import UserError


def no_session(_):
    raise AssertionError("options are checked first")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("data/train", "train"),
        ("s3://bucket/data/train/", "train"),
        ("data/train/*.parquet", "train"),
        ("data/train-*.parquet", "train"),
        ("data/train.parquet", "train"),
        ("data/rows.jsonl.gz", "rows"),
        ("data/split=test", "split=test"),
    ],
)
def test_names(path, name):
    assert leaks._splits([path], [["x=data/other", "more"]]) == {name: [path], "x": ["data/other", "more"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--train", "a/x", "--test", "b/x"], "--test b/x: a split named x is there already; say --test NAME=PATH"),
        (["--train", "a"], "required: --test"),
        (["--train", "a", "--test", "b", "--index", "i"], "--index is an option of the job, and imgdedup leaks has no"),
        (["--train", "a", "--test", "b", "--overwrite"], "it needs --output"),
        (["--train", "a", "--test", "b", "--threshold", "99"], "threshold 99 is larger than the hash"),
    ],
)
def test_mistakes(arguments, said):
    with pytest.raises(UserError, match=said):
        leaks.run(arguments, no_session)


def test_a_file_has_the_job_s_options(tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text("threshold: 3\nstages: [{method: md5}]\n")
    with pytest.raises(UserError, match="--stages is an option of the job"):
        leaks.run(["--config", str(file), "--train", "a", "--test", "b"], no_session)
