"""What a run tells while it works: lines of text, or JSON objects, on stderr."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from imgdedup_spark.errors import printable

log = logging.getLogger("imgdedup")
#: Loggers of what PySpark raises as well.
_TELLS_TWICE = ("py4j", "pyspark", "DataFrameQueryContextLogger", "SQLQueryContextLogger")


class TextLines(logging.Formatter):
    """Lines of text; names of files may hold what a terminal would obey."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = "\n".join(printable(line) for line in record.message.split("\n"))
        return super().formatMessage(record)


class JsonLines(logging.Formatter):
    """One object a line: ``time`` (UTC), ``level``, ``message``; of the end of a stage also ``stage``, ``seconds`` and
    what was counted; and ``run_id`` where there is one."""

    def __init__(self, run_id: str | None = None) -> None:
        super().__init__()
        self._run_id = run_id

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if self._run_id is not None:
            said["run_id"] = self._run_id
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False, default=str)


def start_logs() -> None:
    """Lines of text on stderr, unless the program has handlers of its own."""
    if not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(TextLines("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
        logging.getLogger().addHandler(handler)
    log.setLevel(logging.INFO)
    for name in _TELLS_TWICE:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    logging.getLogger().addFilter(_is_news)


def set_logs(log_format: str, run_id: str | None, *, quiet: bool) -> None:
    """As the options say.

    Args:
        log_format: ``text`` or ``json``.
        quiet: warnings and errors alone.
    """
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    if log_format == "json":
        for handler in _ours():
            handler.setFormatter(JsonLines(run_id))


def error_line(message: str) -> str:
    """A whole error as the log has lines."""
    line = f"imgdedup: error: {' '.join(message.split())}"
    formats = [one.formatter for one in _ours() if isinstance(one.formatter, JsonLines)]
    if not formats:
        return printable(line)
    return formats[0].format(logging.LogRecord("imgdedup", logging.ERROR, "", 0, "%s", (line,), None))


def before_each_line(action: Callable[[], None]) -> Callable[[], None]:
    """Does something before a line is written; returns what ends that."""

    def first(record: logging.LogRecord) -> bool:
        action()
        return True

    handlers = _ours()
    for handler in handlers:
        handler.addFilter(first)

    def end() -> None:
        for handler in handlers:
            handler.removeFilter(first)

    return end


def _ours() -> list[logging.Handler]:
    return [one for one in logging.getLogger().handlers if type(one) is logging.StreamHandler]


def _is_news(record: logging.LogRecord) -> bool:
    """Not what py4j logs of an exception, on no logger of its own, before it raises it."""
    return "py4j" not in record.pathname
