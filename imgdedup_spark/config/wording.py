"""The names that options have where an error is read: messages are written with the flags of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from imgdedup_spark.config.declared import OPTIONS
from imgdedup_spark.errors import JobError, UserError


@contextmanager
def in_words_of_python() -> Iterator[None]:
    """Errors that leave it say ``id_col`` for ``--id-col``; also a decorator, of what is called from Python."""
    try:
        yield
    except (UserError, JobError) as error:
        error.args = (re.sub(r"(?<![\w-])--([a-z][a-z-]*)", _argument, str(error)),)
        raise


def _argument(match: re.Match[str]) -> str:
    name = match[1].replace("-", "_")
    return name if name in OPTIONS else match[0]
