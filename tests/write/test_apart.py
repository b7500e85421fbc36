"""What a run writes lies apart from what it reads, by whatever names both are given."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from imgdedup_spark.config.command_line import read_options
from imgdedup_spark.errors import UserError
from imgdedup_spark.read.source import Root
from imgdedup_spark.write.apart import check_places, is_same_run


def source(inputs):
    """A source as far as its places go."""
    roots = tuple(Root(path, path) for path in inputs)
    return SimpleNamespace(inputs=tuple(inputs), roots=roots, states=[None], divisible=True)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An input, an output, and links to them."""
    monkeypatch.chdir(tmp_path)
    for file in ("in/rows.parquet", "v1/kept/part-0.parquet", "mixed/a.parquet", "seen2/x/a.parquet", "model/a.onnx"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"")
    for link, target in [
        ("cur", "v1/kept"),
        ("alias", "v1"),
        ("mixed/b.parquet", "../v1/kept/part-0.parquet"),
        ("v1/kept/model", "../../model"),
    ]:
        (tmp_path / link).symlink_to(target)
    return tmp_path


OUTPUT = ("--output v1: the input", " lies in it")


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        (["cur"], ["--output", "v1"], OUTPUT),
        (["alias/kept"], ["--output", "v1"], OUTPUT),
        (["v1/kept"], ["--output", "alias"], ("--output alias", " lies in it")),
        (["./v1//kept/../kept"], ["--output", "v1"], OUTPUT),
        (["c[tu]r"], ["--output", "v1"], OUTPUT),
        (["mixed"], ["--output", "v1"], ("--output v1", "by a link")),
        (["mixed/*.parquet"], ["--output", "v1"], OUTPUT),
        (["in", "cur"], ["--output", "v1"], OUTPUT),
        (["in"], ["--output", "in/out"], ("--output in/out: it lies in the input", "in")),
        (["alias/kept"], ["--output", "v1/kept/out"], ("--output", "it lies in the input")),
        (["in/rows.parquet"], ["--output", "."], ("--output .: the input", " lies in it")),
        (["in"], ["--output", "v1", "--against", "cur"], ("--output v1: --against cur", " lies in it")),
        (
            ["in"],
            ["--output", "model", "--method", "clip", "--model", "v1/kept/model/a.onnx"],
            ("--output model", "--model"),
        ),
        (
            ["in"],
            ["--index", "model", "--method", "clip", "--model", "model", "--output", "o"],
            ("--index model", "--model"),
        ),
        (["in"], ["--output", "v1/new", "--against", "alias"], ("--output v1/new: it lies in --against alias", "v1")),
        (["in"], ["--output", "v1", "--image-root", "cur"], ("--output v1: --image-root cur", "v1/kept")),
        (["in"], ["--output", "alias", "--image-root", "v1/kept"], ("--output alias", "--image-root v1/kept")),
        (["in"], ["--output", "v1", "--index", "alias/index"], ("--output v1: --index alias/index", "v1/index")),
        (["in"], ["--output", "seen2/x", "--index", "seen2"], ("--output seen2/x: it lies in --index seen2", "")),
        (["in"], ["--output", "new", "--index", "in/index"], ("--index in/index: it lies in the input", "in")),
        (["seen2/x"], ["--output", "new", "--index", "seen2"], ("--index", "the input")),
        (["in"], ["--output", "new", "--index", "seen2", "--against", "seen2/x"], ("--index seen2: --against", "")),
    ],
)
def test_each_conflict_is_one_line_in_the_words_of_the_option(here, inputs, options, said):
    config = read_options(["--input", *inputs, *options])
    with pytest.raises(UserError) as error:
        check_places(config, source(inputs))
    line = str(error.value)
    assert line.startswith(said[0]) and said[1] in line and line.endswith("; choose another folder"), line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("inputs", "options"),
    [
        (["in"], ["--output", "v1"]),
        (["in"], ["--output", "in2", "--index", "in-index", "--against", "seen2", "--image-root", "."]),
        (["v1/kept"], ["--output", "v1b"]),
        (["in/*.parquet"], ["--output", "in/out"]),
        (["mixed/a.parquet"], ["--output", "v1"]),
        (["in"], ["--output", "new", "--index", "seen2", "--against", "seen2"]),
        (["in"], ["--output", "model/out", "--method", "clip", "--model", "model"]),
        (["db.table"], ["--output", "db"]),
    ],
)
def test_what_lies_apart_passes(here, inputs, options):
    check_places(read_options(["--input", *inputs, *options]), source(inputs))


@pytest.mark.parametrize(
    ("path", "options", "said"),
    [
        ("s3a://b/in", ["--output", "s3://b/in/out"], "it lies in the input s3a://b/in"),
        ("s3a://b/v1/kept/*", ["--output", "s3://B/v1/"], "lies in it"),
        ("/in", ["--output", "/in/out"], "it lies in the input hdfs://nn/in"),
        ("/in", ["--output", "/out", "--index", "hdfs://NN:8020/out/i"], "--index hdfs://NN:8020/out/i lies in it"),
        ("/v1/kept", ["--output", "hdfs:/v1"], "the input hdfs://nn/v1/kept lies in it"),
    ],
)
def test_elsewhere(path, options, said):
    base = "hdfs://nn" if path.startswith("/") else ""
    read = (base + path).replace("*", "part-0.parquet")
    roots = (Root(read, read, base),)
    states = [SimpleNamespace(input=0, uri=read)]
    found = SimpleNamespace(inputs=(path,), roots=roots, states=states, divisible=True)
    with pytest.raises(UserError, match="choose another folder") as error:
        check_places(read_options(["--input", path, *options]), found)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("options", "index", "more", "same"),
    [
        (["--index", "seen2", "--run-id", "a"], "seen2", {}, True),
        (["--index", "alias/kept", "--run-id", "a"], "./v1/kept/", {}, True),
        (["--index", "seen2", "--run-id", "b"], "seen2", {}, False),
        (["--index", "seen3", "--run-id", "a"], "seen2", {}, False),
        (["--index", "seen2"], "seen2", {}, False),
        (["--index", "seen2", "--run-id", "a"], None, {}, False),
        (["--index", "seen2", "--run-id", "a", "--dry-run"], "seen2", {}, False),
        (["--index", "seen2", "--run-id", "a"], "seen2", {"reviewed": True}, False),
        (["--index", "seen2"], "seen2", {"run_id": None}, False),
    ],
)
def test_whose_output_it_is(here, options, index, more, same):
    config = read_options(["--input", "in", "--output", "out", *options])
    summary = {"run_id": "a", "config": {"index": index}} | more
    assert is_same_run(summary, config, source(["in"])) is same
