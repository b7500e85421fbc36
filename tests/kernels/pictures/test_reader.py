import base64
import io
import os
import pickle
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import fs

from imgdedup_spark import errors
from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.kernels.pictures import reader as pictures
from imgdedup_spark.kernels.pictures.forms import check_type
from imgdedup_spark.kernels.pictures.paths import PathRules
from imgdedup_spark.kernels.pictures.reader import PictureReader

HF = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def picture(format_: str, size: int = 16) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((size, size), 50).convert("RGB").save(out, format_)
    return out.getvalue()


def read(values, type_, root="/nowhere", explicit=False, stores=(), **kwargs):
    reader = PictureReader(PathRules((str(root),), explicit, tuple(map(str, stores))))
    return reader.read(pa.array(values, type_), **kwargs)


def plain(found):
    """[(row, position, bytes or error code)]"""
    assert found.row.dtype == found.position.dtype == np.int32
    assert found.size.dtype == np.int64
    assert found.size.tolist() == [0 if data is None else len(data) for data in found.data]
    return [
        (int(row), int(position), found.errors[i].code if data is None else bytes(data))
        for i, (row, position, data) in enumerate(zip(found.row, found.position, found.data, strict=True))
    ]


def code(text, root, explicit=False, stores=()):
    """The error code of one path, or the bytes it names."""
    return plain(read([text], pa.string(), root, explicit, stores))[0][2]


@pytest.fixture
def root(tmp_path):
    """root/{a.jpg, sub/b.jpg, empty.jpg}, and a secret beside it."""
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"A")
    (folder / "sub" / "b é%20.jpg").write_bytes(b"B")
    (folder / "empty.jpg").write_bytes(b"")
    (tmp_path / "secret.jpg").write_bytes(b"S")
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / "c.jpg").write_bytes(b"C")
    return folder


# Forms of the column ------------------------------------------------------------


@pytest.mark.parametrize("type_", [pa.binary(), pa.large_binary()])
def test_binary(type_):
    assert plain(read([b"x", None, b"", b"yy"], type_)) == [(0, 0, b"x"), (2, 0, "empty"), (3, 0, b"yy")]


@pytest.mark.parametrize("list_", [pa.list_, pa.large_list])
def test_lists_keep_positions_past_null_elements(list_):
    values = [[b"a", None, b"b"], None, [], [None], [b"c"]]
    assert plain(read(values, list_(pa.binary()))) == [(0, 0, b"a"), (0, 2, b"b"), (4, 0, b"c")]


def test_a_null_list_over_a_range_of_values_has_no_pictures():
    values = pa.array([b"a", b"hidden", b"b"])
    offsets = pa.array([0, 1, 2, 3], pa.int32())
    column = pa.ListArray.from_arrays(offsets, values, mask=pa.array([False, True, False]))
    assert plain(PictureReader(PathRules(("/",), False)).read(column)) == [(0, 0, b"a"), (2, 0, b"b")]


def test_hugging_face_structs(root):
    values = [
        {"bytes": b"x", "path": "named.jpg"},
        {"bytes": None, "path": "a.jpg"},
        {"bytes": None, "path": None},
        None,
        {"bytes": b"", "path": "a.jpg"},
        {"bytes": None, "path": ""},
    ]
    expected = [(0, 0, b"x"), (1, 0, b"A"), (4, 0, "empty"), (5, 0, "empty")]
    assert plain(read(values, HF, root)) == expected
    nested = [[values[0], None, values[1]], None, [values[2]]]
    assert plain(read(nested, pa.list_(HF), root)) == [(0, 0, b"x"), (0, 2, b"A")]


def test_a_null_struct_hides_what_lies_under_it():
    fields = [pa.array([b"x", b"y"]), pa.array(["p", "q"])]
    column = pa.StructArray.from_arrays(fields, ["bytes", "path"], mask=pa.array([True, False]))
    assert plain(PictureReader(PathRules(("/",), False)).read(column)) == [(1, 0, b"y")]


def test_structs_with_one_field_or_more(root):
    assert plain(read([{"bytes": b"x"}], pa.struct([("bytes", pa.binary())]))) == [(0, 0, b"x")]
    type_ = pa.struct([("height", pa.int32()), ("path", pa.string())])
    assert plain(read([{"height": 1, "path": "a.jpg"}], type_, root)) == [(0, 0, b"A")]


def test_structs_read_from_json_hold_base64(root):
    type_ = pa.struct([("bytes", pa.string()), ("path", pa.string())])
    values = [
        {"bytes": base64.b64encode(b"x").decode(), "path": "n"},
        {"bytes": None, "path": "a.jpg"},
        {"bytes": "data:,y", "path": None},
        {"bytes": "a.jpg", "path": None},
    ]
    assert plain(read(values, type_, root)) == [
        (0, 0, b"x"),
        (1, 0, b"A"),
        (2, 0, b"y"),
        (3, 0, "bad_base64"),
    ]


def test_structs_as_json_beside_strings(root):
    texts = ['{"path": "a.jpg"}', '{"bytes": "eHl6", "path": "no.jpg"}', '{"path": null}', '{"path": ""}', "{", "a.jpg"]
    found = plain(read(texts, pa.string(), root))
    assert found == [(0, 0, b"A"), (1, 0, b"xyz"), (3, 0, "empty"), (4, 0, "not_found"), (5, 0, b"A")]


def test_slices_chunks_and_no_rows():
    column = pa.array([[b"a"], [b"b", b"c"], None, [b"d"]])
    reader = PictureReader(PathRules(("/",), False))
    assert plain(reader.read(column[1:])) == [(0, 0, b"b"), (0, 1, b"c"), (2, 0, b"d")]
    assert plain(reader.read(pa.chunked_array([column[:1], column[3:]]))) == [(0, 0, b"a"), (1, 0, b"d")]
    assert plain(reader.read(pa.array([b"a", None, b"b"])[1:])) == [(1, 0, b"b")]
    for type_ in (pa.binary(), pa.string(), HF, pa.list_(HF), pa.null()):
        assert plain(reader.read(pa.array([], type_))) == []
        assert plain(reader.read(pa.array([None], type_))) == []


def test_pictures_in_the_batch_are_not_copied():
    found = read([b"\xff" * 100], pa.binary())
    assert isinstance(found.data[0], memoryview)
    assert found.data[0].readonly and found.data[0][0] == 255


def test_accepted_types():
    for type_ in (pa.binary(), pa.large_binary(), pa.string(), pa.large_string(), HF, pa.null()):
        assert check_type(type_) is None
        assert check_type(pa.list_(type_)) is None
        assert check_type(pa.large_list(type_)) is None
        assert "path" in check_type(pa.list_(pa.list_(type_)))
    for type_ in (
        pa.int32(),
        pa.struct([("data", pa.binary())]),
        pa.struct([("path", pa.int32())]),
        pa.struct([("bytes", pa.int32()), ("path", pa.string())]),
        pa.map_(pa.string(), pa.binary()),
    ):
        assert "path" in check_type(type_)
        with pytest.raises(UserError):
            read([], type_)


# Strings ------------------------------------------------------------


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "JPEG2000", "AVIF", "ICO"])
@pytest.mark.parametrize("size", [16, 64])
def test_base64_of_every_format_is_seen_as_such(format_, size):
    data = picture(format_, size)
    lines = base64.encodebytes(data).decode()  # 76 characters a line, as in MIME
    safe = base64.urlsafe_b64encode(data).decode()
    values = [base64.b64encode(data).decode(), lines, safe, safe.rstrip("=")]
    assert plain(read(values, pa.large_string())) == [(row, 0, data) for row in range(4)]


def test_text_that_is_no_utf8_is_a_name_of_such_bytes(root):
    """Parquet's readers do not look at what is in strings."""
    (root / os.fsdecode(b"\xff.jpg")).write_bytes(b"X")
    names = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.int32([0, 5, 7])), pa.py_buffer(b"\xff.jpg{\xff")]
    )
    for column in (names, pa.StructArray.from_arrays([names], ["path"])):
        found = PictureReader(PathRules((str(root),), False, ())).read(column)
        assert plain(found) == [(0, 0, b"X"), (1, 0, "not_found")]
        assert found.errors[1].message == "{\\udcff: no such file"


def test_half_of_a_surrogate_pair_in_json(root):
    assert code('{"bytes": "\\ud800"}', root) == "bad_base64"
    assert code('{"path": "\\ud800"}', root) == "not_found"
    (root / os.fsdecode(b"\xff.jpg")).write_bytes(b"X")  # which JSON spells as Python does
    assert code('{"path": "\\udcff.jpg"}', root) == b"X"


def test_bytes_that_no_name_on_a_store_has(root):
    column = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.int32([0, 10])), pa.py_buffer(b"s3://b\xff/xy")]
    )
    found = PictureReader(PathRules((str(root),), False, ("s3://",))).read(column)
    assert plain(found) == [(0, 0, "not_found")]


def test_long_base64_needs_no_known_format():
    data = bytes(range(256)) * 16
    assert code(base64.b64encode(data).decode(), "/") == data


def test_cut_off_base64():
    text = base64.b64encode(picture("JPEG", 100)).decode()
    assert len(text) > 4096
    assert code(text[:4097], "/") == "bad_base64"
    assert code(text[:5000] + "?" + text[5001:], "/") == "bad_base64"


@pytest.mark.parametrize("name", ["9j", "abcd", "images/00/train", "iVBORw0KGgo", "AAAA" * 8, "R0lGODlh.gif"])
def test_paths_that_could_be_base64_are_paths(root, name):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(b"P")
    assert code(name, root) == b"P"
    assert code(f"{root}/{name}", root) == b"P"
    assert code(f"{root}/{name}", root, explicit=True) == b"P"


@pytest.mark.parametrize("text", ["", "=", "/9j/", "data", "a:b", "\n"])
def test_odd_strings_are_errors_not_exceptions(text, root):
    assert code(text, root) in {"empty", "not_found"}


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("data:image/png;base64,aGk=", b"hi"),
        ("DATA:image/png;BASE64,aGk", b"hi"),
        ("data:image/png;name=x;base64,aG\nk=", b"hi"),
        ("data:image/png;base64,aGk%3D", b"hi"),
        ("data:;base64,-_-_", b"\xfb\xff\xbf"),
        ("data:,h%69%FF", b"hi\xff"),
        ("data:text/plain,é", "é".encode()),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64,a", "bad_base64"),
        ("data:image/png;base64,a?bc", "bad_base64"),
        ("data:image/png;base64", "bad_base64"),
    ],
)
def test_data_uris(uri, expected):
    assert code(uri, "/") == expected


# Paths ------------------------------------------------------------


def test_relative_paths_start_at_the_root_of_their_input(root):
    reader = PictureReader(PathRules((str(root), f"file:{root}2"), False))
    values = pa.array([["a.jpg", "sub/b é%20.jpg", "./sub/../a.jpg"], ["c.jpg"], ["c.jpg"]])
    found = plain(reader.read(values, np.array([0, 1, 0], np.int32)))
    assert [item[2] for item in found] == [b"A", b"B", b"A", b"C", "not_found"]


def test_relative_roots_are_the_drivers(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root.parent)
    reader = pickle.loads(pickle.dumps(PictureReader(PathRules(("root",), False))))
    monkeypatch.chdir("/")
    assert plain(reader.read(pa.array(["a.jpg"]))) == [(0, 0, b"A")]


@pytest.mark.parametrize("explicit", [False, True])
def test_relative_paths_stay_in_the_root(root, explicit):
    (root / "link.jpg").symlink_to(root.parent / "secret.jpg")
    (root / "folder").symlink_to(root.parent)
    (root / "inner.jpg").symlink_to(root / "a.jpg")
    (root / "loop").symlink_to(root / "loop")
    for text in ("../secret.jpg", "sub/../../secret.jpg", "link.jpg", "folder/secret.jpg", "../root2/c.jpg"):
        assert code(text, root, explicit) == "forbidden_path", text
    assert code("../nothing.jpg", root, explicit) == "forbidden_path"  # says nothing about what is out there
    assert code("../root/a.jpg", root, explicit) == b"A"
    assert code("inner.jpg", root, explicit) == b"A"
    assert code("loop", root, explicit) == "not_found"
    assert code("a.jpg", root.parent / "root" / "folder" / "root", explicit) == b"A"  # a root through a link


def test_absolute_paths_and_urls_are_free_on_the_roots_own_file_system(root):
    secret = root.parent / "secret.jpg"
    for text in (secret, f"file:{secret}", f"file://{secret}", f"FILE://localhost{secret}"):
        assert code(str(text), root) == b"S"
        for store in (root.parent, f"file:{root.parent}", "/"):
            assert code(str(text), "s3://bucket/x", stores=[store]) == b"S"
        for stores in ([], ["s3://other"], [root], [f"{root.parent}/secret"]):
            assert code(str(text), "s3://bucket/x", stores=stores) == "forbidden_path"


def test_local_stores_are_free_beside_an_explicit_root(root):
    (root / "link.jpg").symlink_to(root.parent / "secret.jpg")
    for text in (root.parent / "secret.jpg", "link.jpg", "../secret.jpg"):
        assert code(str(text), root, True) == "forbidden_path"
        assert code(str(text), root, True, [root.parent / "secret.jpg"]) == b"S"
        assert code(str(text), root, True, [f"{root}2"]) == "forbidden_path"


@pytest.mark.parametrize(
    "url", ["s3://b/a.jpg", "s3a://b/a.jpg", "gs://b/a", "hdfs://name/a", "hdfs:/a", "abfss://c@a/x"]
)
def test_a_row_opens_no_store_of_its_own_choosing(url, root, monkeypatch):
    monkeypatch.setattr(storage, "_remote", lambda scheme, authority: pytest.fail("a store was opened"))
    for explicit in (False, True):
        for where in (root, "s3://bucket/images", "hdfs://other/images"):
            for stores in ([], ["s3://bucket", "s3://b/a.jp", "hdfs://other", "/"]):
                found = read([url], pa.string(), where, explicit, stores)
                assert found.errors[0].code == "forbidden_path"
                assert "--allow-store" in found.errors[0].message


def test_absolute_paths_and_urls_must_lie_in_an_explicit_root(root):
    (root / "link.jpg").symlink_to(root.parent / "secret.jpg")
    secret = root.parent / "secret.jpg"
    for text in (
        secret,
        f"file:{secret}",
        f"file://{secret}",
        root / "link.jpg",
        f"{root}/../secret.jpg",
        f"file:{root}/%2e%2e/secret.jpg",
        f"{root}2/c.jpg",
        "/etc/hostname",
        "s3://bucket/a.jpg",
        "gs://bucket/a.jpg",
    ):
        assert code(str(text), root, explicit=True) == "forbidden_path", text
    for text in (root / "a.jpg", f"file:{root}/a.jpg", f"file://{root}/a.jpg", f"{root}/../root/a.jpg"):
        assert code(str(text), root, explicit=True) == b"A"
        assert code(str(text), "/", explicit=True) == b"A"
    assert code(str(root / "a.jpg"), "gs://bucket/x", explicit=True) == "forbidden_path"


def test_file_urls_with_and_without_percent_encoding(root):
    file = root / "sub" / "b é%20.jpg"
    assert code(f"file:{file}", root, explicit=True) == b"B"
    assert code(f"file://{quote(str(file))}", root, explicit=True) == b"B"
    assert code(file.as_uri() + "x", root) == "not_found"


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1/a.jpg",
        "HTTPS://example.com/a.jpg",
        "ftp://x/a.jpg",
        "nosuch://x/a.jpg",
        "memory://x",
        "http:/x",
        "github://o:r@/a.jpg",
        "file://host/a.jpg",
    ],
)
def test_other_urls_are_not_read(url, explicit, root):
    assert code(url, root, explicit) == "unsupported_url"


def test_a_root_on_a_web_server_is_not_fetched_from():
    assert code("a.jpg", "http://localhost:1/images") == "unsupported_url"


def test_chained_urls_are_names_of_files(root):
    assert code("simplecache::http://localhost:1/a.jpg", root) == "not_found"


def test_what_is_no_file_is_never_opened(root):
    os.mkfifo(root / "pipe.jpg")
    (root / "zero.jpg").symlink_to("/dev/zero")
    for text in ("pipe.jpg", "sub", ".", "/dev/zero", "/dev/stdin", "/", str(root), str(root / "zero.jpg")):
        assert code(text, root) == "not_a_file", text
    assert code("zero.jpg", root) == "forbidden_path"


def test_a_file_swapped_after_the_check_is_not_followed(root, monkeypatch):
    reader = PictureReader(PathRules((str(root),), False))
    for swap in (lambda p: p.symlink_to(root.parent / "secret.jpg"), lambda p: os.mkfifo(p)):
        (root / "victim.jpg").unlink(missing_ok=True)
        (root / "victim.jpg").write_bytes(b"V")
        file = reader._find("victim.jpg", str(root))
        (root / "victim.jpg").unlink()
        swap(root / "victim.jpg")
        with pytest.raises(errors.ImageError):
            pictures._content(file)


@pytest.mark.parametrize(
    "text",
    ["gone.jpg", "a.jpg/x", "no/such/folder/x.jpg", "x\0.jpg", "/x\0", "n" * 300, "d/" * 3000 + "x.jpg"],
)
def test_missing_and_impossible_paths(text, root):
    assert code(text, root) == "not_found"
    assert code(f"file:{root}/{text}", root) == "not_found"


def test_empty_files_and_permissions(root, monkeypatch):
    assert code("empty.jpg", root) == "empty"
    real_open = os.open

    def refuse(path, *args, **kwargs):
        if str(path).endswith("a.jpg"):
            raise PermissionError(13, "Permission denied")
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    found = read(["a.jpg"], pa.string(), root)
    assert found.errors[0].code == "unreadable"
    assert found.errors[0].message == "a.jpg: Permission denied"


def test_messages_are_one_line_and_bounded(root):
    for text in ("x\ny\x1b[1m.jpg", "é" * 1000, "../" * 100, "http://x/\n" + "y" * 1000):
        message = read([text], pa.string(), root).errors[0].message
        assert message.isprintable()
        assert len(message) < 300
    assert read(["gone é.jpg"], pa.string(), root).errors[0].message.startswith("gone é.jpg: ")


def test_larger_than_a_value_can_be(root):
    with (root / "huge.jpg").open("wb") as stream:
        stream.truncate(2**31)  # sparse
    assert code("huge.jpg", root) == "too_large"


# Remote file systems ------------------------------------------------------------


@pytest.fixture
def bucket(monkeypatch):
    """pyarrow's in-memory file system in the place of a bucket."""
    store = fs._MockFileSystem()
    store.create_dir("bucket/images/sub")
    for name in ("images/a.jpg", "images/sub/b %20.jpg", "secret.jpg", "images2.jpg"):
        with store.open_output_stream(f"bucket/{name}") as stream:
            stream.write(name.encode())

    def remote(scheme, authority):
        if authority != "bucket":
            raise UserError("no such bucket")
        return store, authority

    monkeypatch.setattr(storage, "_remote", remote)
    return store


@pytest.mark.parametrize("explicit", [False, True])
def test_remote_roots(bucket, explicit):
    values = [
        "a.jpg",
        "./sub//b %20.jpg",
        "../secret.jpg",
        "../images2.jpg",
        "sub",
        "gone",
        "sub/../../images/a.jpg",
    ]
    found = plain(read(values, pa.string(), "s3a://bucket/images", explicit))
    assert [item[2] for item in found] == [
        b"images/a.jpg",
        b"images/sub/b %20.jpg",
        "forbidden_path",
        "forbidden_path",
        "not_a_file",
        "not_found",
        b"images/a.jpg",
    ]


def test_remote_urls(bucket, root):
    values = [
        "s3://bucket/images/a.jpg",
        "s3n://bucket/images/sub/b%20%2520.jpg",
        "s3://bucket/secret.jpg",
        "s3://bucket/images/../secret.jpg",
        "s3://other/images/a.jpg",
        "s3://bucket/images2.jpg",
    ]

    def codes(*how):
        return [item[2] for item in plain(read(values, pa.string(), *how))]

    free = codes(root, False, ["s3://"])
    assert free[:4] == [b"images/a.jpg", b"images/sub/b %20.jpg", b"secret.jpg", b"secret.jpg"]
    assert free[4] == "unreadable"
    assert codes("s3://bucket/images", False) == [*free[:4], "forbidden_path", b"images2.jpg"]
    bound = free[:2] + ["forbidden_path"] * 4
    assert codes("s3://bucket/images", True) == bound
    for store in ("s3://bucket/images", "s3a://bucket/images/", "s3://bucket/x/../images"):
        assert codes(root, False, [store]) == codes(root, True, [store]) == bound
    assert codes(root, False, ["gs://bucket/images", str(root)]) == ["forbidden_path"] * 6


def test_storage_failures_are_told_the_same_way_each_time(root, monkeypatch):
    class Failing(fs.LocalFileSystem):
        def get_file_info(self, path):
            raise RuntimeError("request 4711 failed\nat 12:00")

    monkeypatch.setattr(storage, "_remote", lambda scheme, authority: (Failing(), "/"))
    error = read(["s3://bucket/a.jpg"], pa.string(), "s3://bucket").errors[0]
    assert (error.code, error.message) == (
        "unreadable",
        "s3://bucket/a.jpg: the storage failed (RuntimeError)",
    )


# Chunks ------------------------------------------------------------


def test_chunks_hold_at_most_so_many_bytes(root, monkeypatch):
    for index in range(10):
        (root / f"{index}.jpg").write_bytes(bytes([index]) * 100)
    (root / "big.jpg").write_bytes(b"x" * 1000)
    reader = PictureReader(PathRules((str(root),), False))
    column = pa.array([["0.jpg", "1.jpg", "gone"], ["2.jpg"], ["big.jpg"], [f"{i}.jpg" for i in range(3, 10)]])
    opened = []
    real_read = pictures._read_local
    monkeypatch.setattr(pictures, "_read_local", lambda file: opened.append(file) or real_read(file))
    chunks = []
    for chunk in reader.read_chunks(column, None, 250):
        chunks.append(chunk)
        assert len(opened) == sum(len(c.data) - len(c.errors) for c in chunks)  # no reading ahead
    assert [int(chunk.size.sum()) for chunk in chunks] == [200, 100, 1000, 200, 200, 200, 100]
    whole = plain(reader.read(column))
    assert [item for chunk in chunks for item in plain(chunk)] == whole
    assert len(whole) == 12
    assert chunks[0].errors.keys() == {2}
    assert list(reader.read_chunks(pa.array([None], pa.string()), None, 10)) == []


def test_chunks_of_binary_and_base64():
    reader = PictureReader(PathRules(("/",), False))
    chunks = list(reader.read_chunks(pa.array([b"x" * 10] * 5), None, 20))
    assert [len(chunk.data) for chunk in chunks] == [2, 2, 1]
    assert [len(c.data) for c in reader.read_chunks(pa.array([b"x" * 10] * 2), None, 1)] == [1, 1]
