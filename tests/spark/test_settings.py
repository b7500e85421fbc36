"""Settings that a platform refuses are optimisations missed; nothing else."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from imgdedup_spark.spark import settings


class Conf(dict):
    """Spark's settings, of which some may not be touched."""

    def __init__(self, values, refused):
        super().__init__(values)
        self.refused = refused

    def set(self, name, value):
        if name in self.refused:
            raise RuntimeError("[CONFIG_NOT_AVAILABLE] not here\nat somewhere")
        self[name] = value

    unset = dict.pop

    def get(self, name, default=None):
        if name in self.refused:
            raise RuntimeError("[CONFIG_NOT_AVAILABLE] not here")
        return super().get(name, default)


def test_a_refused_setting_is_told_once(caplog, monkeypatch):
    monkeypatch.setattr(settings, "_refused", set())
    spark = SimpleNamespace(conf=Conf({"a": "1"}, {"b"}))
    caplog.set_level(logging.INFO, "imgdedup")
    for _ in range(2):
        with settings.settings(spark, {"a": "2", "b": "2", "c": "2"}):
            assert spark.conf == {"a": "2", "c": "2"}
        assert spark.conf == {"a": "1"}
    assert caplog.messages == ["b is left as it is: [CONFIG_NOT_AVAILABLE] not here"]


@pytest.mark.parametrize(
    ("said", "bytes_"),
    [
        ("134217728", 128 << 20),
        ("64m", 64 << 20),
        ("1GB", 1 << 30),
        ("1g", 1 << 30),
        ("1k", 1 << 10),
        ("128m", 128 << 20),
        ("128MB", 128 << 20),
        ("134217728b", 128 << 20),
        ("8b", 8),
        ("?", 128 << 20),
    ],
)
def test_partition_bytes(said, bytes_):
    name = "spark.sql.files.maxPartitionBytes"
    assert settings.partition_bytes(SimpleNamespace(conf=Conf({name: said}, set()))) == bytes_
    assert settings.partition_bytes(SimpleNamespace(conf=Conf({}, {name}))) == 128 << 20
