"""Every option by all doors: the command line, a YAML file, Python."""

from __future__ import annotations

import dataclasses
import json

import pytest

from imgdedup_spark.config.command_line import read_options
from imgdedup_spark.config.declared import OPTIONS
from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.config.job import JobConfig

#: Fields that are no options of the command line.
OTHERS = {"dedup", "stages"}


PATHS = {"input": ("in",), "output": "out"}
CLIP = {"method": "clip"}


#: Option → a value that is not its default, and what it needs beside it.
SAMPLES = {
    "input": (("a", "b"), {}),
    "input_format": ("delta", {}),
    "count_hard_links": (True, {}),
    "strict": (True, {}),
    "image_col": ("0021", {}),
    "image_root": ("2024-01-01", {}),
    "allow_store": (("s3://bucket/pictures", "/mnt"), {}),
    "id_col": ("no", {}),
    "text_col": ("on", {}),
    "missing": ("duplicates", {}),
    "on_error": ("fail", {}),
    "text_normalize": (("lowercase", "ignore_non_character"), {"text_col": "t"}),
    "method": ("dhash", {}),
    "hash_size": (16, {}),
    "hash_col": ("1e3", {}),
    "decode": ("exact", {}),
    "max_pixels": (100_000, {}),
    "max_bytes": (1 << 20, {}),
    "image_timeout": (2.5, {}),
    "background": ("#00ff7f", {}),
    "frames": ("all", {}),
    "tolerant": (False, {}),
    "preset": ("strict", {}),
    "threshold": (8, {}),
    "verify": (("phash:16:31", "dhash:8:9"), {"threshold": 8}),
    "views": (("center", "turned"), {}),
    "invariant": (("flip",), {}),
    "keep": ("`a,b` desc, first", {}),
    "output": ("elsewhere", {}),
    "output_format": ("parquet", {}),
    "output_table": ("lake.clean.kept", {"output_format": "table"}),
    "mark": ("stays", {"id_col": "id"}),
    "dry_run": (True, {}),
    "report": (True, {}),
    "overwrite": (True, {}),
    "show_num": (3, {}),
    "emit_hashes": (True, {}),
    "index": ("seen", {}),
    "against": (("eval", "test"), {}),
    "run_id": ("2024-01-01", {"index": "seen"}),
    "index_single_writer": (True, {"index": "seen"}),
    "similarity": (0.5, CLIP),
    "model": ("encoder.onnx", CLIP),
    "embedding_col": ("true", CLIP),
    "background_set": ("others", CLIP),
    "batch_size": (7, CLIP),
    "device": ("cpu", CLIP),
    "quiet": (True, {}),
    "log_format": ("json", {}),
    "metrics": ("imgdedup.prom", {}),
    "never": ("pairs.csv", {}),
}


def by_flags(values):
    arguments = []
    for name, value in values.items():
        flag = "--" + name.replace("_", "-")
        if OPTIONS[name].how.get("action") == "append":
            arguments += [part for one in value for part in (flag, one)]
        elif value is True:
            arguments.append(flag)
        elif value is False:
            arguments.append("--no-" + flag.removeprefix("--"))
        else:
            arguments += [flag, *map(str, value if isinstance(value, tuple) else (value,))]
    return read_options(arguments)


def by_yaml(values, folder):
    # JSON's lists and quoted text on one line, everything else as people write it.
    shown = {
        name: json.dumps(value) if isinstance(value, tuple) or "#" in str(value) else value
        for name, value in values.items()
    }
    lines = [f"{name}: {value}" for name, value in shown.items()]
    file = folder / "options.yaml"
    file.write_text("\n".join(line.replace("`a,b` desc, first", "'`a,b` desc, first'") for line in lines))
    return read_options(["--config", str(file)])


def by_python(values):
    mine = {item.name for item in dataclasses.fields(JobConfig)}
    dedup = DedupConfig(**{name: value for name, value in values.items() if name not in mine})
    config = JobConfig(**{name: value for name, value in values.items() if name in mine}, dedup=dedup)
    config.check()
    return config


def test_every_field_is_an_option_and_has_a_sample():
    fields = {item.name for item in (*dataclasses.fields(JobConfig), *dataclasses.fields(DedupConfig))}
    assert fields - OTHERS == set(OPTIONS) == SAMPLES.keys()
    assert all(option.how["help"] for option in OPTIONS.values())


@pytest.mark.parametrize("name", SAMPLES)
def test_all_doors_agree(name, tmp_path):
    value, beside = SAMPLES[name]
    values = {**PATHS, **beside, name: value}
    config = by_python(values)
    assert by_flags(values) == by_yaml(values, tmp_path) == config
    home = config if hasattr(config, name) else config.dedup
    assert getattr(home, name) == value != OPTIONS[name].default


def test_a_flag_wins_over_the_file(tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text("{input: a, output: b, threshold: 3, overwrite: yes, verify: 'phash:16:31'}")
    config = read_options(["--config", str(file), "--threshold", "5"])
    assert (config.dedup.threshold, config.input, config.output, config.overwrite) == (5, ("a",), "b", True)
    assert config.dedup.verify == ("phash:16:31",)
