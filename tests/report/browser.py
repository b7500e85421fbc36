"""Looks at pages in a real browser: ``python tests/report/browser.py [PAGE…]`` (`make test-browser`).

Each page, and some of hostile strings, on a phone and a desktop, light and dark: nothing is asked of a network, the
console has no errors, each picture is there, nothing is wider than the window, axe finds no serious fault, no string is
run, and a marked pair is downloaded. Screenshots go to ``build/pages``.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from outcomes import outcome
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from imgdedup_spark.kernels.pictures.thumbnail import thumbnail
from imgdedup_spark.report.explain import explain
from imgdedup_spark.report.page import explanation_page, report_page

SHOTS = Path(__file__).resolve().parents[2] / "build" / "pages"
WINDOWS = {"phone": (390, 844), "desktop": (1280, 900)}
SCHEMES: tuple[Any, ...] = ("light", "dark")
HOSTILE = (
    "<script>window.hurt = 1</script>", '" onerror="window.hurt = 1', "<img src=x onerror='window.hurt = 1'>",
    "javascript:window.hurt=1", "\x1b[31m", "a\u202eb", "]]>", "{{ 7*7 }}", "</script><script>window.hurt = 1",
    "w" * 300,
)  # fmt: skip
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Pictures are loaded when somebody comes by.
COME_BY = """async () => {
    const late = () => new Promise(done => setTimeout(done, 2000));
    for (const one of document.images) {
        one.scrollIntoView();
        await Promise.race([one.decode().catch(() => 0), late()]);
    }
    scrollTo(0, 0);
}"""
BLANK = "[...document.images].filter(one => !one.naturalWidth).length"


def main(pages: list[str]) -> int:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print("Chromium is missing: sudo apt-get install chromium (Debian, Ubuntu)")
        return 1
    SHOTS.mkdir(parents=True, exist_ok=True)
    bad = 0
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for page in [*map(Path, pages), *hostile_pages(Path(folder))]:
            for window, scheme in product(WINDOWS, SCHEMES):
                problems = list(look(browser, page, window, scheme))
                bad += bool(problems)
                print(f"{page.name}, {window}, {scheme}: {'; '.join(problems) or 'well'}")
        browser.close()
    return 1 if bad else 0


def hostile_pages(folder: Path) -> Iterator[Path]:
    """A report and an explanation in which each string that the data can have is one of ``HOSTILE``."""
    stream = BytesIO()
    Image.linear_gradient("L").save(stream, "PNG")
    shown = thumbnail(stream.getvalue())
    rows, dropped, errors, thumbs = [], [], [], {}
    for number, text in enumerate(HOSTILE):
        names = [f"{text}{one}" for one in range(4)]
        for name, bits in zip(names, ("00", "01", "ff", None), strict=True):
            hash_ = None if bits is None else f"{number:02x}" * 7 + bits
            rows.append((name, hash_, *((9, 9, 90) if hash_ else (None, None, None))))
            thumbs[name] = shown
        dropped.append((names[1], names[0], 1))
        errors.append((names[3], 0, "corrupt", text, "error"))
    found = outcome(rows, dropped, errors, input=list(HOSTILE))
    for name, page in (
        ("hostile.html", report_page(found, thumbs)),
        ("explained.html", explanation_page(explain(found, f"{HOSTILE[0]}1"), thumbs)),
    ):
        (folder / name).write_text(page, "utf-8")
        yield folder / name


def look(browser: Browser, file: Path, window: str, scheme: Any) -> Iterator[str]:
    """What is wrong with a page."""
    width, height = WINDOWS[window]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.resolve().as_uri())
    for details in page.locator("details").all():
        details.evaluate("one => one.open = true")
    page.evaluate(COME_BY)
    page.screenshot(path=SHOTS / f"{file.stem}-{window}-{scheme}.png", full_page=True)
    yield from (f"console: {one}" for one in said)
    yield from (f"asks for {one[:80]}" for one in asked[1:] if not one.startswith(("data:", "blob:")))
    if page.evaluate("window.hurt"):
        yield "a string was run"
    if blank := page.evaluate(BLANK):
        yield f"{blank} pictures are not shown"
    if (wide := page.evaluate(WIDE)) > 0:
        yield f"{wide} pixels wider than the window"
    for fault in Axe().run(page).response["violations"]:
        if fault["impact"] in ("serious", "critical"):
            yield f"axe: {fault['id']} at {fault['nodes'][0]['html'][:100]}"
    if page.locator("button[data-a]").count():
        yield from mark(page)
    elif file.name == "hostile.html":
        yield "no pair can be marked"
    context.close()


def mark(page: Page) -> Iterator[str]:
    """Marks the first pair as no duplicate, and downloads it."""
    button = page.locator("button[data-a]").first
    pair = [json.loads(button.get_attribute(name) or "") for name in ("data-a", "data-b")]
    button.click()
    with page.expect_download() as waiting:
        page.locator("#download").click()
    with Path(waiting.value.path()).open(newline="", encoding="utf-8") as lines:
        found = list(csv.reader(lines))[1:]
    if found != [pair]:
        yield f"downloads {found} for {pair}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
