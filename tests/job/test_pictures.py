"""What a picture is, as a whole job sees it: one folder of every kind."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.hash import small
from imgdedup_spark.hash.stage import prints_of
from imgdedup_spark.index.manifest import Index
from imgdedup_spark.index.spec import check_spec
from imgdedup_spark.keep import flats

pytestmark = pytest.mark.spark

COLORS = {"blue": (20, 20, 220), "green": (20, 160, 20), "red": (220, 20, 20)}


def encoded(picture, file_format="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, file_format, **options)
    return stream.getvalue()


def opened(data):
    return Image.open(io.BytesIO(data)).convert("RGB")


@pytest.fixture
def folder(tmp_path, photos):
    """Pictures of every kind; a name with ``_copy`` is of a duplicate of the name before it."""
    place = tmp_path / "in"
    place.mkdir()
    deep = {letter: np.asarray(opened(photos[letter]).convert("L")).astype(np.uint16) * 220 for letter in "AB"}
    icons = []
    for box in ((10, 10, 90, 50), (40, 5, 60, 95)):
        opacity = Image.new("L", (100, 100), 0)
        opacity.paste(255, box)
        icons.append(Image.merge("RGBA", [Image.new("L", (100, 100), 0)] * 3 + [opacity]))
    white = Image.new("RGB", (100, 100), "white")
    white.paste(icons[0], mask=icons[0])
    films = [[opened(photos[letter]).resize((90, 60)) for letter in letters] for letters in ("CDE", "CED")]
    files = {
        **{f"deep_{letter}.png": encoded(Image.fromarray(values)) for letter, values in deep.items()},
        "deep_A_copy.tif": encoded(Image.fromarray(deep["A"]), "TIFF"),
        "icon_0.png": encoded(icons[0]),
        "icon_0_copy.png": encoded(white),
        "icon_1.png": encoded(icons[1]),
        **{f"{name}.png": encoded(Image.new("RGB", (128, 128), color)) for name, color in COLORS.items()},
        "blue_copy.jpg": encoded(Image.new("RGB", (70, 300), COLORS["blue"]), "JPEG"),
        "film_0.gif": encoded(films[0][0], "GIF", save_all=True, append_images=films[0][1:]),
        "film_1.gif": encoded(films[1][0], "GIF", save_all=True, append_images=films[1][1:]),
        "photo.jpg": photos["F"],
        "photo_no_end_copy.jpg": photos["F"][:-2],
        "z_cut.jpg": photos["F"][:3000],
    }
    for name, data in files.items():
        (place / name).write_bytes(data)
    return place


def name_of(row_id):
    return row_id.rpartition("/")[2].split("#")[0]


def names(result):
    return {name_of(dropped): name_of(kept) for dropped, kept in result.dropped.items()}


COPIES = {
    "deep_A_copy.tif": "deep_A.png",
    "icon_0_copy.png": "icon_0.png",
    "blue_copy.jpg": "blue.png",
    "photo_no_end_copy.jpg": "photo.jpg",
}


@pytest.mark.parametrize("threshold", [0, 4])
def test_every_kind_in_one_folder(run, folder, threshold):
    result = run(folder, "--threshold", threshold, "--frames", "first" if threshold else "all")
    expected = {**COPIES, "film_1.gif": "film_0.gif"} if threshold else COPIES
    assert names(result) == expected
    assert {row["reason"] for row in result.table("duplicates")} == {"same_hash"}
    assert result.summary["frames"] == 2
    assert result.summary["images"] == 15
    assert result.summary["rows_with_errors"] == 1
    levels = {row["level"]: (name_of(row["id"]), row["error"]) for row in result.table("errors")}
    assert levels == {"error": ("z_cut.jpg", "truncated"), "warning": ("photo_no_end_copy.jpg", "odd_end")}
    quality = {name_of(row["id"]): row["quality"] for row in result.table("hashes")}
    assert quality["z_cut.jpg"] is None
    assert quality["blue.png"] == quality["red.png"] == 0
    assert quality["photo.jpg"] >= 50


def test_without_tolerance_it_is_an_error(run, folder):
    result = run(folder, "--no-tolerant", "--on-error", "drop", "--method", "dhash")
    assert result.summary["rows_dropped_on_error"] == 2
    assert {row["level"] for row in result.table("errors")} == {"error"}


def test_flat_pictures_of_an_index(run, folder, tmp_path):
    index = tmp_path / "seen"
    options = ("--threshold", 4, "--index", index)
    first = run(folder, *options, "--run-id", "one")
    assert names(first) == {**COPIES, "film_1.gif": "film_0.gif"}
    again = run(folder, *options, "--run-id", "two")
    kept = {row["id"] for row in again.table("hashes")} - set(again.dropped)
    assert [name_of(name) for name in kept] == ["z_cut.jpg"]
    assert {row["distance"] for row in again.table("duplicates")} == {0}
    by_name = names(again)
    assert by_name["red.png"] == "red.png"
    assert by_name["blue_copy.jpg"] == "blue.png"
    with pytest.raises(UserError, match="--background"):
        run(folder, *options, "--background", "black")
    # As if it had been made before there was such a rule.
    state, prints = Index(str(index)).read(), prints_of(DedupConfig(threshold=4))
    check_spec(state, prints, "--index seen")
    old = {name: value for name, value in state.spec.items() if name not in ("pictures", "background", "frames")}
    with pytest.raises(UserError, match="rule none of what a picture is"):
        check_spec(replace(state, spec=old), prints, "--index seen")


def test_a_day_of_flat_pictures_alone(run, tmp_path):
    """Nothing of it can be near anything, and the index knows it all the same."""
    for day, color in enumerate(("white", "blue", "white")):
        (tmp_path / str(day)).mkdir()
        Image.new("RGB", (64, 64), color).save(tmp_path / str(day) / "blank.png")
    options = ("--index", tmp_path / "index")
    found = [run(tmp_path / str(day), *options, "--run-id", str(day)).summary for day in range(3)]
    assert [(one["rows_kept"], one["in_index"]) for one in found] == [(1, 0), (1, 0), (0, 1)]


def flat_ones(photos):
    """Files by name; those of one letter show the same."""

    def on_white(name):
        page = Image.new("RGB", (400, 300), "white")
        page.paste(opened(photos[name]).resize((90, 70)), (150, 110))
        return page

    def form(word):
        page = Image.new("RGB", (400, 300), "white")
        ImageDraw.Draw(page).text((60, 40), word, fill="black")
        return page

    ramp = Image.linear_gradient("L").resize((400, 300))
    grey, red = (Image.merge("RGB", bands) for bands in ([ramp] * 3, (ramp, *[ramp.point(lambda one: one // 2)] * 2)))
    pictures = {"a": red, "b": grey, "c": on_white("A"), "d": on_white("B"), "e": form("yes"), "f": form("no")}
    slides = {"g": "Chapter 1", "h": "Chapter 7"}
    for name, words in slides.items():
        pictures[name] = ramp.point(lambda one: 60 + one // 2).convert("RGB")
        ImageDraw.Draw(pictures[name]).text((60, 120), words, fill="white", font_size=16)
    half = {name: picture.resize((200, 150), Image.Resampling.LANCZOS) for name, picture in pictures.items()}
    files = {f"{name}0.png": encoded(picture) for name, picture in pictures.items()}
    files |= {f"{name}1.jpg": encoded(half[name], "JPEG", quality=60) for name in "abcd"}
    files |= {f"{name}1.jpg": encoded(half[name], "JPEG", quality=60) for name in "fgh"}
    return files | {"e1.tif": encoded(pictures["e"], "TIFF")}


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.long
def test_flat_pictures_that_show_the_same(run, tmp_path, photos, monkeypatch, at_once):
    """Whatever they were encoded and scaled as; but for words on a plain ground, which a small difference may be."""
    if not at_once:
        monkeypatch.setattr(small, "MOST_ROWS", -1)
    days = tmp_path / "0", tmp_path / "1"
    for day in days:
        day.mkdir()
    for name, data in flat_ones(photos).items():
        (days[0] / name).write_bytes(data)
        (days[1] / f"{name}.later").write_bytes(data)
    same = {"a1.jpg": "a0.png", "b1.jpg": "b0.png", "c1.jpg": "c0.png", "d1.jpg": "d0.png", "e1.tif": "e0.png"}
    assert names(run(days[0])) == same
    # Another order of keeping: the fewest bytes.
    turned = run(
        days[0], "--keep", "bytes asc, first", "--threshold", 4, "--index", tmp_path / "index", "--run-id", "one"
    )
    sizes = {name: len(data) for name, data in flat_ones(photos).items()}
    expected = {}
    for dropped, kept in same.items():
        dropped, kept = sorted((kept, dropped), key=lambda name: -sizes[name])
        expected[dropped] = kept
    assert names(turned) == expected
    again = run(days[1], "--threshold", 4, "--index", tmp_path / "index", "--run-id", "two")
    stays = {kept: kept for kept in sizes if kept not in expected}
    assert {name.removesuffix(".later"): kept for name, kept in names(again).items()} == {**expected, **stays}
    assert {row["distance"] for row in again.table("duplicates")} == {0}


def test_rows_of_several_pictures(run, tmp_path, photos):
    """A flat picture among others asks for equal ones in all places."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    blue, red = (encoded(Image.new("RGB", (60, 60), COLORS[name])) for name in ("blue", "red"))
    large = encoded(Image.new("RGB", (90, 40), COLORS["blue"]))
    rows = [[photos["A"], blue], [photos["A"], red], [photos["A"], large], [blue, photos["A"]], [photos["A"]]]
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"id": list(range(5)), "images": rows}), path)
    for threshold in (0, 6):
        assert run(path, "--id-col", "id", "--threshold", threshold).dropped == {2: 0}


@pytest.mark.parametrize("preset", ["strict", "balanced"])
def test_colors_of_a_template_are_told_apart(run, tmp_path, photos, preset):
    shape = opened(photos["A"]).convert("L")
    cars = {
        name: Image.merge("RGB", [shape.point(lambda one, part=part: one * part // 255) for part in color])
        for name, color in {"red": (250, 90, 90), "blue": (110, 110, 250)}.items()
    }
    files = {f"{name}.png": encoded(car) for name, car in cars.items()}
    files |= {f"{name}_copy.jpg": encoded(car.reduce(2), "JPEG", quality=70) for name, car in cars.items()}
    files["red_grey.jpg"] = encoded(cars["red"].convert("L"), "JPEG")
    (tmp_path / "in").mkdir()
    for name, data in files.items():
        (tmp_path / "in" / name).write_bytes(data)
    assert len(names(run(tmp_path / "in", "--preset", preset))) == 4  # of one shape
    found = names(run(tmp_path / "in", "--preset", preset, "--verify", "phash:16:80", "--verify", "color"))
    # Grey is near every color, and comes after the first.
    assert found == {"blue_copy.jpg": "blue.png", "red_copy.jpg": "red.png", "red_grey.jpg": "blue.png"}


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.long
def test_texts_and_pairs_that_never_match_hold_for_flat_pictures_too(run, tmp_path, photos, monkeypatch, at_once):
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not at_once:
        monkeypatch.setattr(small, "MOST_ROWS", -1)
    files = flat_ones(photos)
    ramp, again, box, box_again = (files[name] for name in ("a0.png", "a1.jpg", "c0.png", "c1.jpg"))
    rows = [ramp, again, again, again, box, box_again]
    texts = ["one", "two", "One", "one", "box", "box"]
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"id": [f"r{n}" for n in range(6)], "image": rows, "text": texts}), path)
    (tmp_path / "never.csv").write_text("a,b\nr4,r5\n")
    options = ("--id-col", "id", "--text-col", "text", "--text-normalize", "lowercase")
    assert run(path, *options).dropped == {"r2": "r0", "r3": "r0", "r5": "r4"}
    assert run(path, *options, "--never", tmp_path / "never.csv").dropped == {"r2": "r0", "r3": "r0"}
    several = tmp_path / "several.parquet"
    pq.write_table(
        pa.table({"id": ["s0", "s1", "s2"], "image": [[ramp, box], [again, box_again], [ramp, box]]}), several
    )
    assert run(several, "--id-col", "id").dropped == {"s2": "s0"}  # of several pictures all must be equal


def test_too_many_flat_pictures_to_compare(run, tmp_path, photos, monkeypatch, caplog):
    monkeypatch.setattr(flats, "MOST", 3)
    (tmp_path / "in").mkdir()
    for name, data in flat_ones(photos).items():
        (tmp_path / "in" / name).write_bytes(data)
    assert names(run(tmp_path / "in")) == {"e1.tif": "e0.png"}
    assert "only those of equal pixels or one color match" in caplog.text
