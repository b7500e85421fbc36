"""What ``imgdedup`` does besides the job: a command a module, each with ``run(arguments, session)``, which
returns the exit status."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

from imgdedup_spark.config.job import JobConfig

#: ``with session(config) as spark:`` gives Spark, and has whatever goes wrong in the block told in one line.
SessionOf: TypeAlias = Callable[[JobConfig], AbstractContextManager[Any]]
