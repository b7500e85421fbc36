"""What commands are given to work with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

from imgdedup_spark.config.job import JobConfig

#: ``with session(config) as spark:`` gives the Spark session, and has errors of the block told in one line.
SessionOf: TypeAlias = Callable[[JobConfig], AbstractContextManager[Any]]
