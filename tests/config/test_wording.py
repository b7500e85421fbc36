"""Errors that leave Python's doors name arguments, not flags."""

from __future__ import annotations

import pytest

from imgdedup_spark import DedupConfig, UserError, deduplicate
from imgdedup_spark.config.wording import in_words_of_python
from imgdedup_spark.errors import JobError


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("--id-col key: there is no column", "id_col key: there is no column"),
        ("--text-normalize needs --text-col", "text_normalize needs text_col"),
        ("say it with --input-format", "say it with input_format"),
        ("(--keep 'x')", "(keep 'x')"),
        # Others' flags, and what only looks like one.
        ("hf download m --local-dir DIR", "hf download m --local-dir DIR"),
        ("against /data/a--index: no index", "against /data/a--index: no index"),
        ("a -- b --- c", "a -- b --- c"),
    ],
)
@pytest.mark.parametrize("kind", [UserError, JobError])
def test_flags_become_arguments(said, heard, kind):
    with pytest.raises(kind) as error, in_words_of_python():
        raise kind(said)
    assert str(error.value) == heard


def test_other_errors_and_results_pass():
    @in_words_of_python()
    def half(number: int) -> float:
        """Halves."""
        return 1 / number

    assert half(2) == 0.5 and half.__doc__ == "Halves."
    with pytest.raises(ZeroDivisionError):
        half(0)


def test_deduplicate():
    for config, said in (
        (DedupConfig(threshold=65), "threshold: threshold 65"),
        (DedupConfig(text_normalize="lowercase"), "text_normalize needs text_col"),
        (DedupConfig(method="clip", hash_size=16), "hash_size is for hashes"),
    ):
        with pytest.raises(UserError) as error:
            deduplicate(None, config)
        assert str(error.value).startswith(said) and "--" not in str(error.value)
