"""The report, explanations and reviewed decisions of runs."""

from __future__ import annotations

import base64
import io
import json
import logging
import shutil
from contextlib import nullcontext
from datetime import date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imgdedup_spark.cli import main
from imgdedup_spark.commands import apply
from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.read import rows
from imgdedup_spark.report.apply import apply_reviewed

pytestmark = pytest.mark.spark


def save(folder, photos, kind):
    """A, B, A again, something unreadable, in two files."""
    folder.mkdir()
    rows = [{"id": number, "image": data} for number, data in enumerate([photos["A"], photos["B"]])]
    more = [{"id": 2, "image": photos["A"]}, {"id": 3, "image": b"no picture"}]
    if kind == "images":
        for number, one in enumerate([*rows, *more]):
            (folder / f"{number}.jpg").write_bytes(one["image"])
    elif kind == "jsonl":
        for name, some in (("a", rows), ("b", more)):
            lines = [json.dumps({**one, "image": base64.b64encode(one["image"]).decode()}) + "\n" for one in some]
            (folder / f"{name}.jsonl").write_text("".join(lines))
    else:
        pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
        pq.write_table(pa.Table.from_pylist(more), folder / "b.parquet", row_group_size=1)
    return folder


def thumbnails(page):
    return page.count('src="data:image/jpeg;base64,')


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "images"])
def test_a_report_has_the_pictures_of_what_it_shows(kind, run, photos, tmp_path):
    done = run(save(tmp_path / "in", photos, kind), "--report", "--threshold", 4)
    page = (done.folder / "report.html").read_text("utf-8")
    # The one group, and the one pair of rows that stay.
    assert thumbnails(page) == 4
    assert "Unreadable pictures" in page and "4</b> rows in" in page
    assert done.summary["stages"]["report"]["seconds"] > 0 and done.summary["config"]["report"] is True


def test_of_json_the_parts_are_read_again_in_which_something_is_shown(run, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "LEAST_BYTES", 1)
    held, of = [], rows.RowFiles.holding
    monkeypatch.setattr(
        rows.RowFiles, "holding", lambda self, wanted: held.append((self, of(self, wanted))) or held[-1][1]
    )
    lines = []
    for number in range(60):
        stream = io.BytesIO()
        Image.effect_noise((64, 64), number + 20).save(stream, "PNG")
        picture = photos["A"] if number in (31, 57) else stream.getvalue()
        lines.append(json.dumps({"image": base64.b64encode(picture).decode()}) + "\n")
    (tmp_path / "in.jsonl").write_text("".join(lines))
    done = run(tmp_path / "in.jsonl", "--report", "--method", "md5")
    assert done.summary["rows_dropped"] == 1
    assert thumbnails((done.folder / "report.html").read_text("utf-8")) == 2
    ((whole, few),) = held
    assert sum(map(len, whole.units)) > 4 >= 2 * sum(map(len, few.units))


def test_a_report_replaces_the_old_one(run, photos, tmp_path):
    source = save(tmp_path / "in", photos, "parquet")
    run(source, "--report", "--id-col", "id", output="out")
    done = run(source, "--report", "--overwrite", "--threshold", 3, output="out")
    assert "threshold: 3" in (done.folder / "report.html").read_text("utf-8")
    assert not (run(source, "--overwrite", output="out").folder / "report.html").exists()


def test_a_report_from_python(spark, photos, tmp_path):
    from imgdedup_spark import DedupConfig, deduplicate

    rows = [(key, bytearray(photos[one])) for key, one in enumerate("AAB")]
    frame = spark.createDataFrame(rows, "key long, image binary")
    result = deduplicate(frame, DedupConfig(threshold=4), id_col="key")
    page = result.report(str(tmp_path / "report.html"))
    assert (tmp_path / "report.html").read_text("utf-8") == page
    assert thumbnails(page) == 4 and "3</b> rows in" in page
    result.close()


def test_explain_says_why_and_shows_it(run, photos, tmp_path, capsys):
    done = run(save(tmp_path / "in", photos, "parquet"), "--threshold", 4)
    html = tmp_path / "why.html"
    assert main(["explain", "--output", str(done.folder), "b.parquet#0", "--html", str(html)]) == 0
    assert "its hash is the same as that of a.parquet#0" in capsys.readouterr().out
    assert thumbnails(html.read_text("utf-8")) == 3
    assert main(["explain", "--output", str(done.folder), "b.parquet#7"]) == 2
    assert main(["explain", "--output", str(tmp_path), "b.parquet#0"]) == 2
    said = capsys.readouterr().err
    assert "b.parquet#7: no row has this id" in said and "no finished run is there" in said


@pytest.mark.parametrize("kind", ["parquet", "images"])
def test_a_reviewed_table_decides(kind, run, spark, photos, tmp_path):
    done = run(save(tmp_path / "in", photos, kind), "--on-error", "drop", "--report")
    assert len(done.kept) == 2 and len(done.dropped) == 1
    empty = tmp_path / "reviewed.csv"
    empty.write_text("id,kept_id\n")
    summary = apply_reviewed(spark, str(done.folder), str(empty))
    assert len(done.kept) == 3 and done.dropped == {} and done.summary == summary
    assert summary["rows_in"] == summary["rows_kept"] + summary["rows_dropped"] + summary["rows_dropped_on_error"]
    assert (done.folder / "report.html").exists() and not (done.folder / "_staging").exists()
    # And back again, by a table as the run writes it.
    ids = sorted(one["id"] for one in done.table("hashes"))
    pq.write_table(pa.table({"id": [ids[2]], "kept_id": [ids[0]]}), tmp_path / "reviewed.parquet")
    apply_reviewed(spark, str(done.folder), str(tmp_path / "reviewed.parquet"))
    assert len(done.kept) == 2 and done.dropped == {ids[2]: ids[0]}


def test_applying_goes_on_where_it_was_killed(run, spark, photos, tmp_path, monkeypatch):
    """In the middle of copying the rows that stay, as an object store does for minutes."""
    done = run(save(tmp_path / "in", photos, "parquet"))
    empty = tmp_path / "reviewed.csv"
    empty.write_text("id,kept_id\n")
    real = storage.move_files

    def killed(source, target):
        if target.endswith("kept"):
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(storage, "move_files", killed)
    with pytest.raises(KeyboardInterrupt):
        apply_reviewed(spark, str(done.folder), str(empty))
    assert not (done.folder / "summary.json").exists()
    monkeypatch.undo()
    given = ["--output", str(done.folder), "--duplicates", str(empty)]
    assert apply.run(given, lambda config: nullcontext(spark)) == 0
    assert done.summary["rows_kept"] == len(done.kept) == done.summary["rows_in"] and done.dropped == {}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("7,0", "the run has no row 7"),
        ("1,0\n1,0", "id 1 is there twice"),
        ("1,0\n2,1", "2 is dropped for 1, which is dropped itself"),
    ],
)
def test_a_table_that_does_not_go_with_the_run_changes_nothing(lines, said, run, spark, photos, tmp_path):
    done = run(save(tmp_path / "in", photos, "parquet"), "--id-col", "id")
    before = done.kept, done.summary
    (tmp_path / "reviewed.csv").write_text(f"id,kept_id\n{lines}\n")
    with pytest.raises(UserError, match=said):
        apply_reviewed(spark, str(done.folder), str(tmp_path / "reviewed.csv"))
    assert (done.kept, done.summary) == before


@pytest.mark.parametrize(
    "ids", [[1e20, 1e-7, 3.0], [date(2026, 1, n) for n in (1, 2, 3)], [datetime(2026, 1, n, 1, 2) for n in (1, 2, 3)]]
)
def test_ids_that_are_written_in_several_ways(ids, run, spark, photos, tmp_path):
    """Spark has 1.0E-7 where Arrow has 1e-7."""
    pq.write_table(pa.table({"id": ids, "image": [photos[letter] for letter in "AAB"]}), tmp_path / "in.parquet")
    done = run(tmp_path / "in.parquet", "--id-col", "id")
    before = done.kept, done.dropped
    apply_reviewed(spark, str(done.folder), str(done.folder / "duplicates"))
    assert (done.kept, done.dropped) == before and len(done.kept) == 2


def test_an_input_with_other_rows_is_not_applied_to(run, spark, photos, tmp_path):
    """As many as before, but not the one that is to be dropped."""
    images = [photos[letter] for letter in "AAB"]
    pq.write_table(pa.table({"id": [0, 1, 2], "image": images}), tmp_path / "in.parquet")
    done = run(tmp_path / "in.parquet", "--id-col", "id")
    before = done.kept, done.summary
    pq.write_table(pa.table({"id": [0, 7, 2], "image": images}), tmp_path / "in.parquet")
    with pytest.raises(UserError, match="of 1 rows to be dropped the input has 0 now"):
        apply_reviewed(spark, str(done.folder), str(done.folder / "duplicates"))
    assert (done.kept, done.summary) == before


def test_a_reviewed_table_of_rows_that_the_index_knows(run, spark, photos, tmp_path):
    """Days name their rows alike: that 1.jpg went for the 1.jpg of the day before is no row dropped for itself."""
    for day, letters in (("one", "A"), ("two", "ABB")):
        (tmp_path / day).mkdir()
        for number, letter in enumerate(letters):
            (tmp_path / day / f"{number}.jpg").write_bytes(photos[letter])
        done = run(tmp_path / day, "--index", tmp_path / "index", "--report")
    assert done.dropped == {"0.jpg#0": "0.jpg#0", "2.jpg#0": "1.jpg#0"}
    before = {name: done.summary[name] for name in ("rows_kept", "groups", "largest_group", "in_index")}
    shutil.copytree(done.folder / "duplicates", tmp_path / "own")
    summary = apply_reviewed(spark, str(done.folder), str(tmp_path / "own"))
    assert {name: summary[name] for name in before} == before
    assert done.dropped == {"0.jpg#0": "0.jpg#0", "2.jpg#0": "1.jpg#0"}
    (tmp_path / "some.csv").write_text("id,kept_id\n2.jpg#0,1.jpg#0\n")
    assert apply_reviewed(spark, str(done.folder), str(tmp_path / "some.csv"))["in_index"] == 0
    assert len(done.kept) == 2
    (tmp_path / "some.csv").write_text("id,kept_id\n2.jpg#0,9.jpg#0\n")
    with pytest.raises(UserError, match="and the run has no such row"):
        apply_reviewed(spark, str(done.folder), str(tmp_path / "some.csv"))


def test_metrics_and_json_lines(spark, photos, tmp_path):
    source, prom = save(tmp_path / "in", photos, "parquet"), tmp_path / "imgdedup.prom"
    options = ["--log-format", "json", "--metrics", str(prom)]
    told = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(told)
    try:
        assert main(["--input", str(source), "--output", str(tmp_path / "out"), *options]) == 0
    finally:
        logging.getLogger().removeHandler(told)
    assert f'imgdedup_rows{{output="{tmp_path}/out",fate="kept"}} 3' in prom.read_text()
    lines = [json.loads(line) for line in told.stream.getvalue().splitlines()]
    stages = {line["stage"]: line for line in lines if "stage" in line}
    assert stages["hash"]["rows"] == 4 and stages["hash"]["seconds"] >= 0
    assert lines[-1]["level"] == "info" and lines[-1]["message"].startswith("4 rows in, 3 kept")


def test_large_pictures_become_small(run, tmp_path):
    (tmp_path / "in").mkdir()
    picture = Image.effect_noise((1500, 1200), 80)
    for name in "ab":
        picture.save(tmp_path / "in" / f"{name}.png")
    page = (run(tmp_path / "in", "--report").folder / "report.html").read_text("utf-8")
    # Noise is flat from afar: the pair is among the doubtful groups, too.
    assert thumbnails(page) == 4 and len(page) < 100_000
