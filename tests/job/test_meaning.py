"""What the job means: which rows are duplicates, and which of them stays."""

from __future__ import annotations

import base64
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.spark


def write(path, column, name="image", **more):
    count = len(column)
    table = pa.table({"id": list(range(1, count + 1)), name: column, **more})
    pq.write_table(table, path, row_group_size=2)
    return path


@pytest.fixture
def seven(photos, tmp_path):
    texts = ["t1", "t2", "t3", "t1", "t5", "t3", "t7"]
    return write(tmp_path / "seven.parquet", [photos[letter] for letter in "ABCABCC"], text=texts)


def test_three_pictures_a_b_b(run, photos, tmp_path):
    result = run(write(tmp_path / "in.parquet", [photos[letter] for letter in "ABB"]))
    assert result.ids() == [1, 2]
    assert result.table("duplicates") == [
        {"id": "in.parquet#2", "kept_id": "in.parquet#1", "distance": 0.0, "similarity": None, "reason": "same_hash"}
    ]


def test_first_occurrence_wins(run, seven):
    result = run(seven, "--id-col", "id")
    assert result.ids() == [1, 2, 3]
    assert result.dropped == {4: 1, 5: 2, 6: 3, 7: 3}
    summary = result.summary
    assert (summary["rows_in"], summary["rows_kept"], summary["rows_dropped"]) == (7, 3, 4)
    assert (summary["groups"], summary["largest_group"], summary["images"]) == (3, 3, 7)


def test_text_joins_the_key(run, seven):
    assert run(seven, "--text-col", "text").ids() == [1, 2, 3, 5, 7]


def test_text_normalize(run, photos, tmp_path):
    texts = ["A cat, 2 dogs!", "a CAT dogs", "a cat dog"]
    path = write(tmp_path / "in.parquet", [photos["A"]] * 3, text=texts)
    assert run(path, "--text-col", "text").ids() == [1, 2, 3]
    assert run(path, "--text-col", "text", "--text-normalize", "lowercase").ids() == [1, 2, 3]
    assert run(path, "--text-col", "text", "--text-normalize", "lowercase", "ignore_non_character").ids() == [1, 3]


def test_lists_compare_in_order(run, photos, tmp_path):
    lists = [[photos[letter] for letter in row] for row in ("AB", "BA", "AB", "A", "ABA", "BA")]
    result = run(write(tmp_path / "in.parquet", lists, "images"), "--id-col", "id")
    assert result.ids() == [1, 2, 4, 5]
    assert result.dropped == {3: 1, 6: 2}
    hashes = {row["id"]: row["imagehash"] for row in result.table("hashes")}
    assert hashes[5] == hashes[1] + hashes[4]


def test_rows_without_pictures_are_kept(run, photos, tmp_path):
    lists = [[], None, [photos["A"]], [None], [], [photos["A"], None]]
    path = write(tmp_path / "in.parquet", lists, "images")
    assert run(path).ids() == [1, 2, 3, 4, 5]
    assert run(path, "--missing", "duplicates", "--id-col", "id").dropped == {2: 1, 4: 1, 5: 1, 6: 3}


def test_with_text_rows_without_pictures_go_by_their_text(run, photos, tmp_path):
    pictures = [None, None, photos["A"], None, None]
    path = write(tmp_path / "in.parquet", pictures, text=["x", "x", "x", None, None])
    assert run(path, "--text-col", "text").ids() == [1, 3, 4, 5]


def test_keep_prefers_the_larger_picture(run, photos, tmp_path):
    import io

    from PIL import Image

    def sized(letter, width):
        picture = Image.open(io.BytesIO(photos["A"])).resize((width, width))
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()

    # A flat picture hashes the same at any size.
    def flat(width):
        buffer = io.BytesIO()
        Image.new("RGB", (width, width), (120, 10, 10)).save(buffer, "PNG")
        return buffer.getvalue()

    path = write(tmp_path / "in.parquet", [flat(40), flat(90), flat(90), flat(64)], score=[3.0, 1.0, 2.0, None])
    assert run(path, "--keep", "pixels desc, first").ids() == [2]
    assert run(path, "--keep", "pixels desc, score desc").ids() == [3]
    assert run(path, "--keep", "score").ids() == [2]
    assert run(path, "--keep", "score desc, first", "--id-col", "id").dropped == {2: 1, 3: 1, 4: 1}


def test_unreadable_pictures(run, photos, tmp_path):
    pictures = [photos["A"], b"no picture", photos["A"][:400], b"no picture", photos["A"]]
    path = write(tmp_path / "in.parquet", pictures)
    result = run(path, "--id-col", "id")
    assert result.ids() == [1, 2, 3, 4]
    assert [(row["id"], row["position"]) for row in result.table("errors")] == [(2, 0), (3, 0), (4, 0)]
    assert {row["error"] for row in result.table("errors")} == {"unknown_format", "truncated"}
    result = run(path, "--on-error", "drop")
    assert result.ids() == [1]
    summary = result.summary
    assert summary["rows_in"] == summary["rows_kept"] + summary["rows_dropped"] + summary["rows_dropped_on_error"] == 5
    assert summary["rows_with_errors"] == 3


def test_one_unreadable_picture_of_a_list_names_its_position(run, photos, tmp_path):
    lists = [[photos["A"], b"bad", photos["B"]], [photos["A"], photos["B"]], [photos["A"], photos["B"]]]
    result = run(write(tmp_path / "in.parquet", lists, "images"), "--id-col", "id")
    assert result.ids() == [1, 2]
    assert [(row["id"], row["position"], row["error"]) for row in result.table("errors")] == [(1, 1, "unknown_format")]


def test_ready_hashes_of_an_earlier_run(run, seven, tmp_path):
    first = run(seven, "--id-col", "id")
    again = run(first.folder / "hashes", "--hash-col", "imagehash", "--id-col", "id")
    assert sorted(again.ids()) == [1, 2, 3]
    assert set(again.kept[0]) == {"id", "imagehash", "texthash", "width", "height", "bytes", "quality"}


def test_ready_hashes_binary_and_bad(run, tmp_path):
    path = write(tmp_path / "in.parquet", [b"\xab\xcd", b"\xab\xcd", None, b"\x03\x04", None], "h")
    assert run(path, "--hash-col", "h").ids() == [1, 2 + 1, 4, 5]
    path = write(tmp_path / "in2.parquet", ["ABCD", "abcd", "xyz", "xyz", ""], "h")
    result = run(path, "--hash-col", "h")
    assert result.ids() == [1, 3, 4, 5]
    assert [row["error"] for row in result.table("errors")] == ["bad_hash", "bad_hash"]
    path = write(tmp_path / "in3.parquet", ["abcd\n", " ABCD\r\n", "abcd", "\n", "abcd\nabcd"], "h")
    for more in ((), ("--threshold", "1")):
        result = run(path, "--hash-col", "h", *more)
        assert result.ids() == [1, 4, 5]
        assert [row["error"] for row in result.table("errors")] == ["bad_hash"]


def test_emit_hashes(run, seven):
    result = run(seven, "--emit-hashes", "--text-col", "text")
    assert list(result.kept[0]) == ["id", "image", "text", "imagehash", "texthash"]
    hashes = {row["id"]: (row["imagehash"], row["texthash"]) for row in result.table("hashes")}
    for row in result.kept:
        assert (row["imagehash"], row["texthash"]) == hashes[f"seven.parquet#{row['id'] - 1}"]


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_kept_is_there_even_if_it_is_empty(run, tmp_path, kind):
    known = write(tmp_path / "known.parquet", [b"aaaaaaaa"])
    path = tmp_path / f"new.{kind}"
    if kind == "parquet":
        write(path, ["61" * 8])
    else:
        path.write_text(json.dumps({"image": "61" * 8}) + "\n")
    result = run(path, "--hash-col", "image", "--against", known, "--emit-hashes")
    assert result.summary["rows_kept"] == 0
    [file] = (result.folder / "kept").glob("part-*")
    if kind == "parquet":
        assert pq.read_schema(file).names == ["id", "image", "imagehash", "texthash"]
    assert result.kept == []


def test_show_num_samples_largest_groups_first(run, seven):
    pairs = run(seven, "--show-num", 2, "--id-col", "id", "--threshold", 0).lines("pairs")
    assert [(pair["kept"]["id"], pair["dropped"]["id"], pair["group_size"]) for pair in pairs] == [(3, 6, 3), (1, 4, 2)]
    assert set(pairs[0]) == {"kept", "dropped", "distance", "reason", "group_size"}
    assert set(pairs[0]["kept"]) == {"id", "hash", "text", "path"}
    assert pairs[0]["kept"]["hash"] == pairs[0]["dropped"]["hash"]


def test_dry_run_writes_no_kept(run, seven):
    result = run(seven, "--dry-run")
    assert not (result.folder / "kept").exists()
    assert len(result.table("duplicates")) == result.summary["rows_dropped"] == 4


def test_config_file(run, seven, tmp_path):
    config = tmp_path / "options.yaml"
    config.write_text("text_col: text\nid_col: id\nshow_num: 3\n")
    result = run(seven, "--config", config, "--show-num", 1)
    assert result.ids() == [1, 2, 3, 5, 7]
    assert len(result.lines("pairs")) == 1


def test_a_turned_phone_photo_equals_its_upright_copy(run, photos, tmp_path):
    import io

    from PIL import Image

    upright = Image.open(io.BytesIO(photos["A"]))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG", exif=exif.tobytes())
    plain = io.BytesIO()
    upright.save(plain, "PNG")
    path = write(tmp_path / "in.parquet", [plain.getvalue(), buffer.getvalue()])
    assert run(path, "--method", "pixels").ids() == [1]


@pytest.mark.parametrize("method", ["md5", "pdq", "double_gradient", "colorhash", "crop_resistant", "whash"])
def test_other_methods(run, seven, method):
    assert run(seven, "--method", method).ids() == [1, 2, 3]


def test_base64_and_data_uris(run, photos, tmp_path):
    a, b = (base64.b64encode(photos[letter]).decode() for letter in "AB")
    column = [a, "data:image/jpeg;base64," + a, b, b, None]
    assert run(write(tmp_path / "in.parquet", column)).ids() == [1, 3, 5]
