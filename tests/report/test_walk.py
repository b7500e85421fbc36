"""A newcomer's walk: the demo's run, its page, a pair marked there as no duplicate, and a second run that knows."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import conftest
import pyspark
import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


class Page(HTMLParser):
    """The buttons and the script of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.buttons: list[dict[str, str]] = []
        self.script = ""
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._in_script = tag == "script"
        given = dict(attrs)
        if tag == "button" and "data-a" in given:
            self.buttons.append({"a": given["data-a"], "b": given["data-b"]})

    def handle_endtag(self, tag):
        self._in_script = False

    def handle_data(self, data):
        if self._in_script:
            self.script += data


def press(page: Page, number: int) -> str:
    """What the page saves once a pair is marked."""
    sent = json.dumps({"script": page.script, "buttons": page.buttons, "press": number})
    done = subprocess.run(["node", HERE / "press.js"], input=sent, capture_output=True, text=True, check=True)
    return done.stdout


def decisions(result) -> list[set[str]]:
    """Dropped rows with their keepers."""
    return [{str(one["id"]), str(one["kept_id"])} for one in result.table("duplicates")]


@pytest.mark.spark
@pytest.mark.skipif(conftest.MODE != "classic" or pyspark.__version__.startswith("3."), reason="once is enough")
@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js, to run the page's script")
@pytest.mark.long
def test_from_the_demo_to_a_marked_pair_and_a_second_run(run, tmp_path):
    subprocess.run([sys.executable, ROOT / "demo" / "make_data.py", tmp_path / "input"], check=True, cwd=ROOT)
    options = ("--config", ROOT / "conf" / "demo.yaml", "--overwrite", "--report")
    first = run(tmp_path / "input", *options, output="first")
    page = Page((first.folder / "report.html").read_text("utf-8"))
    pairs = [{json.loads(one["a"]), json.loads(one["b"])} for one in page.buttons]
    number = next(number for number, pair in enumerate(pairs) if pair in decisions(first))

    (tmp_path / "never.csv").write_text(press(page, number))
    assert (tmp_path / "never.csv").read_text().splitlines()[1:]
    second = run(tmp_path / "input", *options, "--never", tmp_path / "never.csv", output="second")
    assert pairs[number] not in decisions(second)
    assert second.summary["rows_in"] == first.summary["rows_in"]
    assert second.summary["config"]["never"] == str(tmp_path / "never.csv")
