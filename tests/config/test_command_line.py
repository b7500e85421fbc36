"""The command line: groups of the help, what the two commands take."""

from __future__ import annotations

import re

import pytest

from imgdedup_spark.config.command_line import read_options
from imgdedup_spark.config.declared import OPTIONS
from imgdedup_spark.config.job import NOT_FOR_FINGERPRINTS
from imgdedup_spark.errors import UserError


def groups(text):
    """Title → flags of the options that the help shows under it."""
    found, title = {}, ""
    for line in text.splitlines():
        if match := re.fullmatch(r"([a-z]+):", line):
            title = match[1]
            found[title] = []
        elif match := re.match(r"  (?:-h, )?--([a-z-]+)", line):
            found[title].append(match[1].replace("-", "_"))
    return found


@pytest.fixture
def help_of(capsys):
    def help_it(**how):
        with pytest.raises(SystemExit) as stop:
            read_options(["--help"], **how)
        assert stop.value.code == 0
        return capsys.readouterr().out

    return help_it


def test_help_in_the_order_of_the_flow(help_of):
    found = groups(help_of())
    assert found.pop("options") == ["help", "version", "config"]
    assert list(found) == ["input", "hash", "match", "keep", "output", "index", "embeddings", "logs"]
    assert [name for names in found.values() for name in names] == list(OPTIONS)
    assert found["keep"] == ["keep"] and found["index"] == ["index", "against", "run_id", "index_single_writer"]
    assert found["match"] == ["preset", "threshold", "verify", "views", "invariant", "never"]


def test_the_help_of_fingerprint_has_what_it_takes(help_of):
    text = help_of(fingerprint=True)
    assert text.startswith("usage: imgdedup-fingerprint ")
    shown = [name for names in groups(text).values() for name in names]
    assert set(shown) == {"help", "version", "config", *OPTIONS} - set(NOT_FOR_FINGERPRINTS)
    assert "--output" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--threshold", "x"], "--threshold: invalid whole_number value: 'x'"),
        (["--similarity", "x"], "--similarity: invalid float value: 'x'"),
        (["--thresh", "3"], "--thresh"),
        (["--on-error", "explode"], "invalid choice: 'explode'"),
        (["--input"], "expected at least one argument"),
    ],
)
def test_mistakes(arguments, said):
    for fingerprint, command in ((False, "imgdedup"), (True, "imgdedup-fingerprint")):
        with pytest.raises(UserError) as error:
            read_options(arguments, fingerprint=fingerprint)
        assert said in str(error.value) and str(error.value).endswith(f"({command} --help lists the options)")


def test_numbers():
    config = read_options(["--input", "i", "--output", "o", "--max-pixels", "1e6", "--threshold", "08"])
    assert (config.dedup.max_pixels, config.dedup.threshold) == (1_000_000, 8)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--output-format", "table"], "--output-format table and --output-table NAME go together"),
        (["--output-table", "a.b"], "--output-format table and --output-table NAME go together"),
        (["--mark", "stays"], "--mark needs --id-col"),
        (["--mark", "id", "--id-col", "id"], "--mark needs --id-col, .* another column"),
        (["--mark", "stays", "--id-col", "id", "--output-format", "delta"], "--mark writes no kept/"),
    ],
)
def test_tables_and_marks(given, said):
    with pytest.raises(UserError, match=said):
        read_options(["--input", "i", "--output", "o", *given])


MAKE = ["--input", "in", "--index", "seen"]


VALUES = {
    "output": "out", "output_format": "jsonl", "show_num": "3", "against": "eval", "similarity": "0.8",
    "background_set": "others",
    "metrics": "m.prom", "never": "pairs.csv", "output_table": "kept",
    "mark": "stays",
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_FOR_FINGERPRINTS)
def test_fingerprint_refuses_what_it_does_not_use(name, tmp_path):
    file, flag = tmp_path / "options.yaml", "--" + name.replace("_", "-")
    file.write_text(f"{name}: {VALUES.get(name, 'yes')}")
    for given in ([flag, *([VALUES[name]] if name in VALUES else [])], ["--config", str(file)]):
        with pytest.raises(UserError, match=f"^{flag} is an option of imgdedup; this command only makes an index"):
            read_options([*MAKE, "--method", "clip", *given], fingerprint=True)


@pytest.mark.parametrize(
    "options",
    [
        ["--dry-run"],
        ["--run-id", "a"],
        ["--keep", "pixels desc"],
        ["--threshold", "8", "--verify", "phash:16:31"],
        ["--hash-col", "h", "--threshold", "8"],
        ["--method", "clip", "--model", "m.onnx", "--batch-size", "8"],
        ["--text-col", "t", "--text-normalize", "lowercase"],
        ["--on-error", "fail", "--missing", "duplicates", "--decode", "exact", "--max-pixels", "1000"],
    ],
)
def test_fingerprint_takes_what_it_uses(options):
    assert read_options([*MAKE, *options], fingerprint=True).dry_run == ("--dry-run" in options)


def test_fingerprint_needs_an_index_and_no_stages(tmp_path):
    with pytest.raises(UserError, match="--index is required"):
        read_options(["--input", "in"], fingerprint=True)
    file = tmp_path / "stages.yaml"
    file.write_text("stages: [{method: phash}, {method: clip}]")
    with pytest.raises(UserError, match="--index does not go with `stages`"):
        read_options([*MAKE, "--config", str(file)], fingerprint=True)
