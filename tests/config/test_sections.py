"""Sections: each checks its own options; what concerns two is checked where they meet."""

from __future__ import annotations

import dataclasses

import pytest

from imgdedup_spark.config.dedup import ONLY_EMBEDDINGS, STAGE_OPTIONS, DedupConfig
from imgdedup_spark.config.job import SECTIONS, JobConfig, JobIndex, JobInput, JobOutput
from imgdedup_spark.config.sections import (
    EmbeddingOptions,
    HashOptions,
    InputOptions,
    KeepOptions,
    MatchOptions,
    OutputOptions,
)
from imgdedup_spark.errors import UserError
from imgdedup_spark.kernels.hashes import HashSpec


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (InputOptions(missing="drop"), "--missing is one of keep, duplicates, not 'drop'"),
        (InputOptions(on_error="explode"), "--on-error is one of keep, drop, fail, not 'explode'"),
        (HashOptions(text_normalize="uppercase"), "--text-normalize is one of lowercase, ignore_non_character"),
        (HashOptions(method="fhash"), "unknown method 'fhash'"),
        (HashOptions(hash_size=0), "hash size 0 is out of range"),
        (HashOptions(decode="slow"), "--decode is one of fast, exact"),
        (HashOptions(max_pixels=0), "--max-pixels is 1 or more, not 0"),
        (HashOptions(max_bytes=0), "--max-bytes is 1 or more, not 0"),
        (HashOptions(image_timeout=0), "--image-timeout is a number of seconds above 0, not 0"),
        (HashOptions(image_timeout=float("inf")), "--image-timeout is a number of seconds above 0, not inf"),
        (MatchOptions(threshold=-1), "0 or more bits, not -1"),
        (MatchOptions(verify=["phash"], threshold=3), "METHOD:SIZE:T"),
        (MatchOptions(verify=["phash:31"], threshold=3), "METHOD:SIZE:T"),
        (MatchOptions(verify=["pdq"], threshold=3), "METHOD:SIZE:T"),
        (MatchOptions(verify=["color:97"], threshold=3), "which has 96 bits"),
        (MatchOptions(verify=["phash:16:999"], threshold=3), "256 bits"),
        (MatchOptions(verify="phash:16:31"), "needs --threshold above 0"),
        (MatchOptions(views=["whole", "center"]), "--views whole stands for no other views"),
        (MatchOptions(invariant=["fold"]), "--invariant is one of flip, rotate"),
        (KeepOptions(keep="first, n"), "nothing can come after it"),
        (OutputOptions(show_num=-1), "--show-num is 0 or more, not -1"),
        (EmbeddingOptions(similarity=0), "--similarity"),
        (EmbeddingOptions(similarity=float("nan")), "--similarity"),
        (EmbeddingOptions(batch_size=0), "--batch-size is 1 or more, not 0"),
        (EmbeddingOptions(device="tpu"), "--device is one of auto, cpu, cuda"),
        (EmbeddingOptions(embedding_col="v", model="m"), "--model runs a model"),
        (JobInput(), "--input is required"),
        (
            JobOutput(output_format="csv"),
            "--output-format is one of parquet, jsonl, webdataset, delta, iceberg, lance, table, not 'csv'",
        ),
        (JobIndex(run_id="a"), "needs --index"),
        (JobIndex(index="seen", run_id=""), "at least one character"),
    ],
)
def test_a_section_checks_its_own(section, said):
    with pytest.raises(UserError) as error:
        section.check()
    assert said in str(error.value)
    assert str(error.value) == said_by_the_whole(section)


def said_by_the_whole(section):
    """What a whole job says of options that differ from the defaults in this section alone."""
    given = {item.name: getattr(section, item.name) for item in dataclasses.fields(section)}
    if isinstance(section, JobInput | JobOutput | JobIndex):
        config = JobConfig(**{"input": "in", "output": "out", **given})
    else:
        method = {"method": "clip"} if isinstance(section, EmbeddingOptions) else {}
        config = JobConfig(input="in", output="out", dedup=DedupConfig(**method, **given))
    with pytest.raises(UserError) as error:
        config.check()
    return str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"text_normalize": "lowercase"}, "--text-normalize needs --text-col"),
        ({"threshold": 65}, "64 bits"),
        ({"method": "md5", "threshold": 3}, "distances between md5 hashes mean nothing"),
        ({"hash_col": "h", "verify": ["phash:16:31"]}, "--hash-col reads no image"),
        ({"similarity": 0.8}, "--similarity is for embeddings"),
        ({"method": "clip", "verify": ["phash:16:31"]}, "--verify is for hashes"),
        ({"method": "clip", "batch_size": 0}, "--batch-size is 1 or more"),
        ({"stages": [{"method": "phash"}], "threshold": 3}, "--threshold stands beside `stages`"),
        ({"stages": [{"method": "phash"}], "on_error": "drop"}, "--on-error drop does not go with"),
        ({"stages": [{"keep": "first"}]}, "stage 1: `keep` is no option of a stage"),
        ({"stages": [{"method": "phash"}, {"verify": "x", "threshold": 1}]}, "stage 2: --verify takes"),
        ({"stages": [{"method": "clip"}, {"method": "phash"}]}, "stage 1: embeddings cost most"),
    ],
)
def test_where_sections_meet(options, said):
    with pytest.raises(UserError, match=said):
        DedupConfig(**options).check()


def test_what_is_allowed():
    for options in (
        {},
        {"hash_col": "h", "threshold": 200},
        {"method": "clip", "embedding_col": "v", "similarity": 1},
        {"threshold": 3, "verify": ["phash:16:31"]},
        {"stages": [{"method": "phash", "threshold": 8}, {"method": "clip", "similarity": 0.92}]},
    ):
        DedupConfig(**options).check()


def test_a_section_alone_has_what_the_whole_has():
    """Code that takes a section can be given the options of a run, or the section."""
    assert isinstance(DedupConfig(keep="n desc"), KeepOptions)
    assert DedupConfig(keep="n desc").keep_terms == KeepOptions(keep="n desc").keep_terms
    assert DedupConfig(hash_size=16).spec == HashOptions(hash_size=16).spec
    for own in (InputOptions, HashOptions, MatchOptions, KeepOptions, OutputOptions, EmbeddingOptions):
        assert issubclass(DedupConfig, own)


def test_the_order_of_the_flow():
    titles = ["input", "hash", "match", "keep", "output", "index", "embeddings", "logs"]
    assert list(SECTIONS) == titles
    names = [item.name for item in dataclasses.fields(DedupConfig)]
    order = [item.name for one in SECTIONS.values() for part in one for item in dataclasses.fields(part)]
    assert [name for name in order if name in names] == names[: -len(("stages",))]


def test_one_value_or_a_list_for_what_may_be_several():
    assert DedupConfig(verify="a").verify == DedupConfig(verify=["a"]).verify == ("a",)
    assert DedupConfig(verify=None).verify == ()
    assert JobConfig(input="in", against=["a", "b"]).against == ("a", "b")
    assert DedupConfig(stages={"method": "phash"}).stages == ({"method": "phash"},)
    assert hash(DedupConfig(verify=["a"], text_normalize=["lowercase"]))


def test_options_of_stages():
    assert ONLY_EMBEDDINGS == ("similarity", "model", "embedding_col", "background_set", "batch_size", "device")
    mine = {"method", "preset", "hash_size", "threshold", "verify", "views", "invariant", "hash_col"}
    assert {*mine, *ONLY_EMBEDDINGS} == set(STAGE_OPTIONS)
    steps = DedupConfig(keep="n", stages=[{"method": "dhash", "verify": ["phash:16:31"]}, {"method": "clip"}]).steps
    assert [(one.method, one.verify, one.keep, one.is_embedding) for one in steps] == [
        ("dhash", ("phash:16:31",), "n", False),
        ("clip", (), "n", True),
    ]


@pytest.mark.parametrize(("text", "threshold"), [("color", 20), ("color:9", 9), ("color:8:9", 9), ("pdq:31", 31)])
def test_what_has_no_size_needs_none(text, threshold):
    (verify,) = MatchOptions(verify=[text], threshold=3).verifies
    assert (verify.spec, verify.threshold) == (HashSpec(text.split(":")[0]), threshold)
