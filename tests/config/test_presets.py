"""Presets: parts of them are options like any others, and what is given beside them wins, by every door."""

from __future__ import annotations

import dataclasses
import logging
import pickle

import pytest

from imgdedup_spark.config.command_line import read_options
from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.config.presets import PRESETS, spelled_out
from imgdedup_spark.errors import UserError
from imgdedup_spark.kernels.hashes.view_names import TURNS, VIEWS
from imgdedup_spark.stages import tell

PATHS = ("--input", "in", "--output", "out")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_its_parts(name, tmp_path):
    plain = DedupConfig(**PRESETS[name])
    plain.check()
    file = tmp_path / "options.yaml"
    file.write_text(f"preset: {name}")
    for config in (
        DedupConfig(preset=name),
        read_options([*PATHS, "--preset", name]).dedup,
        read_options([*PATHS, "--config", str(file)]).dedup,
    ):
        assert dataclasses.replace(config, preset=None) == plain
        assert pickle.loads(pickle.dumps(config)) == config
        assert dataclasses.replace(config, id_col="n").threshold == config.threshold


def test_what_is_given_wins(tmp_path):
    """Defaults, too, if they are given."""
    file = tmp_path / "options.yaml"
    file.write_text("{preset: strict, threshold: 12}")
    for config in (
        DedupConfig(preset="strict", threshold=12, verify=()),
        dataclasses.replace(read_options([*PATHS, "--config", str(file)]).dedup, verify=()),
        dataclasses.replace(read_options([*PATHS, "--preset", "strict", "--threshold", "12"]).dedup, verify=()),
    ):
        assert (config.method, config.threshold, config.verify) == ("double_gradient", 12, ())
    assert DedupConfig(preset="strict", method="phash").method == "phash"
    assert read_options([*PATHS, "--preset", "strict", "--verify", "pdq:0:31"]).dedup.verify == ("pdq:0:31",)
    flag_over_file = read_options([*PATHS, "--config", str(file), "--preset", "strict", "--threshold", "9"]).dedup
    assert flag_over_file.threshold == 9


@pytest.mark.parametrize("options", [("--method", "sscd"), ("--preset", "descriptor"), ("--method", "clip")])
def test_defaults_of_a_method_are_not_given(options):
    """An index is made without a threshold."""
    index = ("--input", "in", "--index", "index", *options)
    assert read_options(index, fingerprint=True).dedup.is_embedding
    with pytest.raises(UserError, match="--similarity is an option of imgdedup"):
        read_options([*index, "--similarity", "0.7"], fingerprint=True)


def test_a_method_has_defaults_of_its_own():
    copies = DedupConfig(method="sscd")
    assert (copies.similarity, copies.model) == (0.5, "sscd") and copies.is_embedding
    assert DedupConfig(preset="descriptor").similarity == 0.5
    assert DedupConfig(method="sscd", similarity=0.9).similarity == 0.9
    assert DedupConfig(preset="descriptor", method="clip").similarity == DedupConfig(method="clip").similarity == 0.9
    with pytest.raises(UserError, match="--preset descriptor compares embeddings, and --method phash makes hashes"):
        DedupConfig(preset="descriptor", method="phash").check()
    # Scores are lower than cosines.
    for own in ({"method": "sscd"}, {"preset": "descriptor"}):
        assert DedupConfig(**own, background_set="others").similarity == 0.35
        assert DedupConfig(**own, background_set="others", similarity=0.5).similarity == 0.5
        (step,) = DedupConfig(stages=[{**own, "background_set": "others"}]).steps
        assert step.similarity == 0.35
    assert read_options([*PATHS, "--method", "sscd", "--model", "a.onnx"]).dedup.model == "a.onnx"
    ready = DedupConfig(method="sscd", embedding_col="v")
    ready.check()
    assert ready.similarity == 0.5
    assert DedupConfig(stages=[{"method": "phash"}, {"method": "sscd"}]).steps[1].similarity == 0.5
    assert DedupConfig(method="clip").similarity == 0.9


def test_stages_can_be_presets():
    steps = DedupConfig(stages=[{"preset": "strict", "threshold": 9}, {"method": "clip"}]).steps
    assert (steps[0].method, steps[0].threshold, steps[0].verify) == ("double_gradient", 9, ("phash:16:80",))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"preset": "descriptor", "threshold": 3}, "--threshold is for hashes, and --method sscd compares embeddings"),
        ({"preset": "lenient"}, "--preset is one of strict, balanced"),
        ({"preset": "strict", "hash_col": "h"}, "--preset computes hashes from the image"),
        ({"preset": "strict", "method": "clip"}, "--preset is for hashes"),
        ({"preset": "strict", "stages": [{"method": "dhash"}]}, "--preset stands beside `stages`"),
        ({"stages": [{"preset": "balanced"}]}, "stage 1: --views trimmed does not go with `stages`"),
    ],
)
def test_what_a_preset_does_not_go_with(options, said):
    with pytest.raises(UserError, match=said):
        DedupConfig(**options).check()


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, []),
        ({"views": "whole"}, []),
        ({"preset": "strict"}, []),
        ({"preset": "balanced"}, ["trimmed"]),
        ({"preset": "balanced", "views": "whole"}, []),
        ({"views": ["center", "trimmed"]}, ["trimmed", "center"]),
        ({"invariant": "flip"}, ["flip", "flip_180"]),
        ({"invariant": "rotate"}, ["rotate_90", "rotate_180", "rotate_270"]),
        ({"invariant": ["flip", "rotate"]}, list(TURNS)),
        ({"preset": "balanced", "invariant": "flip"}, ["trimmed", "flip", "flip_180"]),
        ({"preset": "thorough"}, list(VIEWS[1:])),
    ],
)
def test_views_that_options_stand_for(options, names):
    config = DedupConfig(**options)
    config.check()
    assert config.view_names == tuple(names)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"views": "center", "hash_col": "h"}, "--views center looks at the image anew, and --hash-col"),
        ({"invariant": "flip", "method": "colorhash"}, "--invariant flip: colorhash has no views"),
        ({"preset": "thorough", "verify": "colorhash:8:4"}, "--views trimmed center turned: colorhash has no views"),
        ({"views": "center", "method": "clip"}, "--views is for hashes"),
        ({"views": "center", "stages": [{"method": "dhash"}]}, "--views stands beside `stages`"),
        ({"stages": [{"views": "whole", "invariant": "flip"}]}, "stage 1: --invariant flip does not go with `stages`"),
    ],
)
def test_what_views_do_not_go_with(options, said):
    with pytest.raises(UserError, match=said):
        DedupConfig(**options).check()


def test_a_preset_is_told_in_full(caplog):
    caplog.set_level(logging.INFO)
    tell(DedupConfig(preset="strict", threshold=12))
    assert caplog.messages == [
        "--preset strict: --method double_gradient, --hash-size 8, --threshold 12, --verify phash:16:80"
    ]
    caplog.clear()
    tell(DedupConfig())
    (said,) = caplog.messages
    assert "--preset balanced" in said and spelled_out("balanced", DedupConfig(preset="balanced")) in said
    caplog.clear()
    for config in (DedupConfig(threshold=3), DedupConfig(method="dhash"), DedupConfig(hash_col="h")):
        tell(config)
    assert not caplog.messages
