"""YAML files: what is written is what an option gets."""

from __future__ import annotations

import pytest

from imgdedup_spark.config.yaml_file import read_yaml
from imgdedup_spark.errors import UserError


@pytest.fixture
def read(tmp_path):
    def read_it(text):
        file = tmp_path / "options.yaml"
        file.write_text(text, encoding="utf-8")
        return read_yaml(str(file))

    return read_it


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("# nothing\n", {}),
        ("id_col: 2024-01-01", {"id_col": "2024-01-01"}),
        ("run_id: 2024-01-01 10:00:00", {"run_id": "2024-01-01 10:00:00"}),
        ("run_id: 0021", {"run_id": "0021"}),
        ("run_id: 1e3", {"run_id": "1e3"}),
        ("run_id: 0x1f", {"run_id": "0x1f"}),
        ("run_id: 12:30:45", {"run_id": "12:30:45"}),
        ("run_id: 1.10", {"run_id": "1.10"}),
        ("run_id: .inf", {"run_id": ".inf"}),
        ("run_id: =", {"run_id": "="}),
        ("{id_col: no, text_col: on, image_col: yes, hash_col: true}",
         {"id_col": "no", "text_col": "on", "image_col": "yes", "hash_col": "true"}),
        ("input: [0021, no, 2024-01-01]", {"input": ("0021", "no", "2024-01-01")}),
        ("input: 7", {"input": ("7",)}),
        ("input: ['null', ~x]", {"input": ("null", "~x")}),
        ("max_pixels: 1e8", {"max_pixels": 100_000_000}),
        ("max_pixels: 178_956_970", {"max_pixels": 178_956_970}),
        ("threshold: 008", {"threshold": 8}),
        ("threshold: '8'", {"threshold": 8}),
        ("threshold: -1", {"threshold": -1}),
        ("similarity: 1", {"similarity": 1.0}),
        ("similarity: 9e-1", {"similarity": 0.9}),
        ("{overwrite: yes, dry_run: Off, emit_hashes: TRUE}",
         {"overwrite": True, "dry_run": False, "emit_hashes": True}),
        ("{id_col: , text_col: null, image_col: ~, threshold: Null, verify: }", {}),
        ("id_col: ''", {"id_col": ""}),
        ("verify: []", {"verify": ()}),
        ("verify: phash:16:31", {"verify": ("phash:16:31",)}),
        ("verify:\n- phash:16:31\n- dhash:8:4", {"verify": ("phash:16:31", "dhash:8:4")}),
        ("keep: pixels desc, first", {"keep": "pixels desc, first"}),
        ("stages:", {}),
        ("stages: [{method: phash, threshold: 8}, {method: clip, similarity: .92, model: }]",
         {"stages": ({"method": "phash", "threshold": 8}, {"method": "clip", "similarity": 0.92})}),
        ("stages: [{verify: phash:16:31, threshold: 3}]",
         {"stages": ({"verify": ("phash:16:31",), "threshold": 3},)}),
        ("stages:\n- &near {method: phash, threshold: 8}\n- {<<: *near, method: dhash}",
         {"stages": ({"method": "phash", "threshold": 8}, {"method": "dhash", "threshold": 8})}),
    ],
)  # fmt: skip
def test_values(read, text, values):
    found = read(text)
    assert found == values
    assert {name: type(value) for name, value in found.items()} == {name: type(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("threshold: lots", "`threshold` takes a value of type int, not 'lots'"),
        ("threshold: 2.5", "`threshold` takes a value of type int, not '2.5'"),
        ("threshold: .inf", "not '.inf'"),
        ("threshold: inf", "not 'inf'"),
        ("threshold: yes", "`threshold` takes a value of type int, not 'yes'"),
        ("threshold: 2024-01-01", "not '2024-01-01'"),
        ("threshold: {a: b}", "`threshold` takes a value of type int, not a mapping"),
        ("threshold: [3]", "`threshold` takes one value, not a list"),
        ("similarity: high", "`similarity` takes a value of type float, not 'high'"),
        ("overwrite: 1", "`overwrite` takes a value of type bool, not '1'"),
        ("overwrite: maybe", "`overwrite` takes a value of type bool, not 'maybe'"),
        ("id_col: [a, b]", "`id_col` takes one value, not a list"),
        ("input: [a, ~]", "`input` takes a value of type str, not nothing"),
        ("input: [a, [b]]", "`input` takes a value of type str, not a list"),
        ("input: &a [*a]", "`input` takes a value of type str, not a list"),
        ("on_error: explode", "`on_error` is one of keep, drop, fail, not 'explode'"),
        ("text_normalize: [lowercase, up]", "`text_normalize` is one of lowercase, ignore_non_character, not 'up'"),
        ("treshold: 3", "there is no option `treshold`; did you mean `threshold`?"),
        ("hash-size: 3", "there is no option `hash-size`; did you mean `hash_size`?"),
        ("dedup: {keep: first}", "there is no option `dedup`"),
        ("ready_bits: 64", "there is no option `ready_bits`"),
        ("config: other.yaml", "there is no option `config`"),
        ("threshold: 3\nid_col: a\nthreshold: 4", "not valid YAML: line 3: `threshold` is there twice"),
        ("stages: [{threshold: 3, threshold: 4}]", "line 1: `threshold` is there twice"),
        ("a: [", "not valid YAML: line 1: "),
        ("a: b\n---\na: c", "not valid YAML: line 2: "),
        ("threshold: !!int 3", "not valid YAML: line 1: could not determine a constructor"),
        ("input: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("input: *nowhere", "not valid YAML: line 1: "),
        ("id_col: \x00", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("- a\n- b", "expected `option: value` lines, found a list"),
        ("threshold", "expected `option: value` lines, found 'threshold'"),
        ("stages: phash", "`stages` takes a list"),
        ("stages: [phash]", "`stages` takes a list"),
        ("stages: [{threshold: 3}, {treshold: 3}]", "`stages`, entry 2: there is no option `treshold`"),
        ("stages: [{keep: first}]", "`stages`, entry 1: there is no option `keep`"),
        ("stages: [{threshold: lots}]", "`stages`, entry 1: `threshold` takes a value of type int, not 'lots'"),
    ],
)
def test_mistakes_are_one_line_that_names_file_and_option(read, tmp_path, text, said):
    with pytest.raises(UserError) as error:
        read(text)
    line = str(error.value)
    assert said in line and "\n" not in line and len(line) < 400
    assert line.startswith(f"--config {tmp_path / 'options.yaml'}")


def test_a_few_lines_of_anchors_do_not_make_a_message_of_gigabytes(read):
    bombs = ["&a0 [x, x]", *[f"&a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]]
    for name in ("input", "threshold"):
        with pytest.raises(UserError, match=f"`{name}` takes") as error:
            read(f"{name}: [{', '.join(bombs)}]")
        assert len(str(error.value)) < 400


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"^--config /no/such/file.yaml: No such file"):
        read_yaml("/no/such/file.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"id_col: \xe9")
    with pytest.raises(UserError, match="not valid YAML"):
        read_yaml(str(tmp_path / "latin.yaml"))
