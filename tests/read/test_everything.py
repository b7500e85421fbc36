"""Whatever lies in a folder is a row or is counted, and every row is kept or dropped, value for value.

Each test runs the whole job on trees that Hypothesis makes up, and compares with a twin that reads them plainly.
"""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from pathlib import Path
from tempfile import mkdtemp

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_inputs import PIXELS, png

pytestmark = pytest.mark.spark
# A run takes seconds: few trees, with much in each of them.
few = settings(
    max_examples=4,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
STEMS = st.sampled_from(
    ["a", "_b", "c d", "e%20f", "%25", "[1]", "{x,y}", "g#h", "ü", "i:j", "m\\n", "'o'", "p+q&r", "*", "?", "🙂", "'"]
)
NAMES = st.tuples(st.lists(STEMS, max_size=2).map("/".join), STEMS)
COLORS = st.integers(0, 5)


@pytest.fixture
def place(tmp_path):
    """A new folder for each tree."""
    return lambda: Path(mkdtemp(dir=tmp_path))


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def passed_over(result):
    return Counter({reason: one["count"] for reason, one in result.summary["passed_over"].items()})


def kept_of(result, rows):
    """What is to be in kept/, after all else has been checked.

    Args:
        rows: (id, what the row shows or None, the row), in input order.
    """
    first = {}
    for row_id, shows, _ in rows:
        if shows is not None:
            first.setdefault(shows, row_id)
    gone = {row_id: first[shows] for row_id, shows, _ in rows if shows is not None and first[shows] != row_id}
    assert result.dropped == gone
    assert result.summary["rows_in"] == len(rows) and result.summary["rows_kept"] == len(rows) - len(gone)
    return [row for row_id, _, row in rows if row_id not in gone]


# Pictures ------------------------------------------------------------------------------------------------------------

ODD = st.sets(st.sampled_from(["loop", "outside", "broken", "file_link", "latin1", "notes", "hidden", "metadata"]))


@few
@given(st.dictionaries(NAMES, COLORS, min_size=5, max_size=20), ODD)
def test_pictures(run, place, pictures, odd):
    root = place()
    folder = root / "in"
    rows = {f"{where}/{stem}.png".lstrip("/"): color for (where, stem), color in pictures.items()}
    for name, color in rows.items():
        write(folder / name, png(color))
    some = min(rows)
    expected = Counter()
    if "loop" in odd:
        (folder / "loop").symlink_to(folder)
        expected["link_loop"] += 1
    if "outside" in odd:
        write(root / "objects" / "1", png(1))
        (folder / "zz").symlink_to(root / "objects")
        rows["zz/1"] = 1
    if "broken" in odd:
        (folder / "gone.png").symlink_to(root / "nowhere")
        expected["broken_link"] += 1
    if "file_link" in odd:
        # Behind all else, so that it is the link that is passed over.
        (folder / "🙂🙂.png").symlink_to(folder / some)
        expected["same_file"] += 1
    if "notes" in odd:
        write(folder / "notes.txt", b"x")
        write(folder / "labels.csv", b"x,y\n")
        expected["other_format"] += 2
    if "hidden" in odd:
        write(folder / ".cache" / "x.png", png(0))
        write(folder / "_SUCCESS", b"")
        expected += Counter(hidden=1, bookkeeping=1)
    latin1 = os.fsdecode(b"caf\xe9 %.png")
    if "latin1" in odd:
        write(folder / latin1, png(9))
        rows[latin1] = 9
    if "metadata" in odd:
        lines = [{"file_name": some, "n": 1, "id": None}, {"file_name": "not there.png", "n": 2}, {"n": 3}]
        write(folder / "metadata.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
        expected["metadata_line"] += 2
    result = run(folder, *PIXELS, output=f"{root}/out")
    assert passed_over(result) == expected
    made = []
    for name in sorted(rows):
        path = f"file://{folder}/caf%E9 %25.png" if name == latin1 else f"{folder}/{name}"
        row = {"path": path, "n": 1 if name == some else None, "id": None} if "metadata" in odd else {"path": path}
        made.append((f"{path if name == latin1 else name}#0", rows[name], row))
    assert result.kept == kept_of(result, made)
    assert result.table("errors") == []


# JSON ----------------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyé"), inner, max_size=2),
    max_leaves=5,
)
FIELDS = st.dictionaries(st.sampled_from(["n", "a.b", "c d", "ü", "`", "order", "id"]), VALUES, max_size=4)
FORMS = st.sampled_from(["base64", "data", "list", "struct", "path", "structs", "none"])
BAD = st.sampled_from([b'{"cut": "off', b"no json", b'{"a": "\xff"}', b"3", b'"x"', b"null", b'{"a": 1} {}'])
ROWS = st.lists(st.tuples(FIELDS, FORMS, COLORS) | BAD, max_size=6)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\n \t\n"])


def image_of(form, color):
    text = base64.b64encode(png(color)).decode()
    forms = {
        "base64": text,
        "data": f"data:image/png;base64,{text}",
        "list": [text],
        "struct": {"bytes": text, "path": None},
        "path": f"pics/{color}.png",
        "structs": [{"path": f"pics/{color}.png"}],
    }
    return forms.get(form)


@few
@given(st.dictionaries(NAMES, st.tuples(ROWS, st.booleans(), ENDS), min_size=2, max_size=6), st.booleans())
def test_json(run, place, files, keeps):
    root = place()
    for color in range(6):
        write(root / "pics" / f"{color}.png", png(color))
    rows, bad = {}, set()
    for (where, stem), (some, is_array, end) in files.items():
        name = f"{where}/{stem}.json".lstrip("/") + ("" if is_array else "l")
        texts = []
        for row in some:
            if isinstance(row, bytes):
                # What does not parse takes all behind it in an array along.
                is_row = not is_array or row in (b"3", b'"x"', b"null")
                if not is_row:
                    continue
                text, shows = row, None
                bad.add(f"{name}#{len(texts)}")
            else:
                fields, form, color = row
                text = json.dumps({**fields, "image": image_of(form, color)}, ensure_ascii=False).encode()
                shows = None if form == "none" else color
            rows[name, len(texts)] = (f"{name}#{len(texts)}", shows, text)
            texts.append(text)
        joined = b"[" + (b"," + end).join(texts) + b"]" if is_array else b"".join(text + end for text in texts)
        write(root / "in" / name, joined)
    if all(row_id in bad for row_id, *_ in rows.values()):
        return
    made = [rows[key] for key in sorted(rows)]
    options = () if keeps else ("--on-error", "drop")
    result = run(root / "in", *PIXELS, "--image-root", root, *options, output=f"{root}/out")
    assert {(row["id"], row["error"], row["level"]) for row in result.table("errors")} == {
        (row_id, "bad_row", "error") for row_id in bad
    }
    if keeps:
        lines = [line for file in sorted((result.folder / "kept").iterdir()) for line in file.read_bytes().splitlines()]
        assert [line.rstrip() for line in lines if line.strip()] == kept_of(result, made)
    else:
        assert result.summary["rows_kept"] == len(made) - len(bad) - len(result.dropped)


# Parquet -------------------------------------------------------------------------------------------------------------

KINDS = {
    "n": [pa.int8(), pa.int32(), pa.int64(), pa.null()],
    "s": [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.null()],
    "t": [pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns")],
    "_metadata": [pa.string()],
    "l": [pa.list_(pa.int32()), pa.list_(pa.int64())],
}
VALUE = {"n": 7, "s": "é", "t": 1_700_000_000, "_metadata": "m", "l": [1, None]}
SHARDS = st.lists(st.integers(0, 5) | st.none(), min_size=1, max_size=5)
TYPES = st.fixed_dictionaries({}, optional={name: st.sampled_from(kinds) for name, kinds in KINDS.items()})
SPELLED = st.sampled_from(["image", "Image"])


@few
@given(st.dictionaries(NAMES, st.tuples(SHARDS, TYPES, SPELLED), min_size=1, max_size=5))
def test_parquet(run, place, files):
    root = place()
    tables = {}
    for (where, stem), (colors, types, spelled) in files.items():
        columns = {
            name: pa.array(
                [None if pa.types.is_null(kind) or n % 3 == 2 else VALUE[name] for n in range(len(colors))], kind
            )
            for name, kind in types.items()
        }
        images = pa.array([None if color is None else png(color) for color in colors], pa.binary())
        name = f"{where}/{stem}.parquet".lstrip("/")
        table = pa.table({**columns, spelled: images})
        write(root / "in" / name, b"")
        pq.write_table(table, root / "in" / name, row_group_size=2)
        tables[name] = (colors, table)
    write(root / "in" / "README.md", b"x")
    result = run(root / "in", *PIXELS, output=f"{root}/out")
    assert passed_over(result) == Counter(other_format=1)
    rows, names = [], dict.fromkeys(name.lower() for key in sorted(tables) for name in tables[key][1].column_names)
    for file in sorted(tables):
        colors, table = tables[file]
        for number, (color, row) in enumerate(zip(colors, table.to_pylist(), strict=True)):
            found = {name.lower(): value for name, value in row.items()}
            rows.append((f"{file}#{number}", color, {name: found.get(name) for name in names}))
    kept = [{name.lower(): value for name, value in row.items()} for row in result.kept]
    assert kept == kept_of(result, rows)
    assert result.table("errors") == []
