import json
import logging

import pytest

from imgdedup_spark.clock import Clock
from imgdedup_spark.logs import JsonLines, TextLines, error_line, log, set_logs


@pytest.fixture
def handler():
    """A handler as `logging.basicConfig` makes it."""
    import io

    made = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(made)
    level = log.level
    yield made
    logging.getLogger().removeHandler(made)
    log.setLevel(level)


def lines(handler):
    return handler.stream.getvalue().splitlines()


def test_json_lines_have_what_a_stage_counted(handler):
    set_logs("json", "2024-01-01", quiet=False)
    with Clock().stage("hash") as entry:
        entry["rows"] = 1234
    log.info('two\nlines, "quoted" \u202e')
    first, second = map(json.loads, lines(handler))
    assert first["message"] == "hash: 0.0 s, 1,234 rows" and first["level"] == "info"
    assert (first["stage"], first["rows"], first["run_id"]) == ("hash", 1234, "2024-01-01") and first["seconds"] < 1
    assert second["message"] == 'two\nlines, "quoted" \u202e' and "stage" not in second


def test_quiet_is_warnings_and_errors(handler):
    set_logs("text", None, quiet=True)
    log.info("news")
    log.warning("trouble")
    assert lines(handler) == ["trouble"]


def test_an_error_is_a_line_of_the_log(handler):
    assert error_line("no\n  such file") == "imgdedup: error: no such file"
    handler.setFormatter(JsonLines())
    said = json.loads(error_line("no\n  such file"))
    assert (said["level"], said["message"]) == ("error", "imgdedup: error: no such file")


def test_names_of_files_cannot_order_a_terminal_about(handler):
    assert error_line("a\x1b[2Jb\u202e.png") == r"imgdedup: error: a\x1b[2Jb\u202e.png"
    handler.setFormatter(TextLines("%(message)s"))
    log.warning("a\x1b[2J\nb")
    assert lines(handler) == [r"a\x1b[2J", "b"]
