import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgdedup_spark.errors import UserError
from imgdedup_spark.files.never import Never, read_never

PAIRS = [{"a": "007", "b": 'q"u,o\nted'}, {"a": "x#1", "b": ""}]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_pairs_are_read_as_they_are_written(ending, tmp_path):
    path = tmp_path / f"never.{ending}"
    if ending == "csv":
        # As the report's button writes it.
        quoted = [",".join('"' + one[name].replace('"', '""') + '"' for name in "ab") for one in PAIRS]
        path.write_text("\n".join(["a,b", *quoted]) + "\n")
    elif ending == "jsonl":
        path.write_text("".join(json.dumps(one) + "\n" for one in PAIRS))
    else:
        pq.write_table(pa.Table.from_pylist(PAIRS), path)
    assert read_never(str(path)).to_pylist() == PAIRS


def test_ids_that_are_numbers(tmp_path):
    (tmp_path / "never.jsonl").write_text('{"a": 1, "b": 20, "note": "x"}\n')
    assert read_never(str(tmp_path / "never.jsonl")).to_pylist() == [{"a": "1", "b": "20"}]


def test_an_empty_file_has_no_pairs(tmp_path):
    (tmp_path / "never.csv").write_text("")
    assert read_never(str(tmp_path / "never.csv")).num_rows == 0
    (tmp_path / "never.csv").write_text("a,b\n")
    assert read_never(str(tmp_path / "never.csv")).num_rows == 0


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("n.csv", "id,kept_id\n1,2\n", "found columns id, kept_id"),
        ("n.csv", "a,b\n1\n", "cannot be read"),
        ("n.jsonl", '{"a": 1}\n', "found columns a"),
        ("n.jsonl", '{"a": 1, "b": null}\n', "`b` is missing in a row|ids are strings"),
        ("n.jsonl", '{"a": [1], "b": 2}\n', "ids are strings or numbers"),
        ("n.jsonl", "no json", "cannot be read"),
        ("n.parquet", "no parquet", "cannot be read"),
        ("n.txt", "a,b\n1,2\n", "its name ends in"),
        ("gone.csv", None, "there is no such file"),
    ],
)
def test_another_file_is_a_mistake_in_one_line(name, text, said, tmp_path):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=said) as error:
        read_never(str(path))
    assert str(error.value).startswith(f"--never {path}: ") and "\n" not in str(error.value)


def test_ids_become_numbers():
    pairs = pa.table({"a": ["x", "z", "x", "q"], "b": ["z", "x", "x", "gone"]})
    never = Never.of([pairs, pa.table({"a": ["x"], "b": ["7"]})])
    numbers = dict(
        zip(["x", "7", "none", None], never.numbers(pa.chunked_array([["x", "7", "none", None]])), strict=True)
    )
    assert numbers["none"] == numbers[None] == 0 < numbers["x"] != numbers["7"] > 0
    assert never.numbers(pa.chunked_array([[7]])).tolist() == [numbers["7"]]
    assert {frozenset(never.names[int(one) - 1].as_py() for one in pair) for pair in never.pairs} == {
        frozenset("xz"), frozenset(("q", "gone")), frozenset("x7")
    }  # fmt: skip
    assert Never.of([pa.table({"a": ["0aff"], "b": ["x"]})]).numbers(pa.chunked_array([[b"\x0a\xff"]])).tolist() == [1]
    # Only the table's own ids are asked about.
    assert sorted(never.unknown({int(numbers["x"])}, pairs)) == ["gone", "q", "z"]
    moved = never.moved({"z": "y", "q": "gone"})
    assert {frozenset(moved.names[int(one) - 1].as_py() for one in pair) for pair in moved.pairs} == {
        frozenset("xy"), frozenset("x7")
    }  # fmt: skip
    assert Never.of([pairs.slice(0, 0)]).pairs.shape == (0, 2)


def test_a_pair_of_an_id_with_itself_is_told(tmp_path, caplog):
    (tmp_path / "never.csv").write_text("a,b\n1.jpg#0,1.jpg#0\n1.jpg#0,2.jpg#0\n")
    assert len(read_never(str(tmp_path / "never.csv"))) == 2
    assert "pairs of an id with itself are no pairs: 1;" in caplog.text
