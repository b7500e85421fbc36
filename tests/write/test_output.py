"""The output folder, without Spark: what may be replaced, and what is the user's."""

from __future__ import annotations

import json

import pytest

from imgdedup_spark.errors import JobError, UserError
from imgdedup_spark.write.output import Output


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def run(out, text, *, overwrite=False, options="o", data="d", finish=True, own="nobody's"):
    """A run that writes ``text``, and may replace ``own``; returns whether it had anything to do."""
    with Output(str(out), own=lambda summary: summary["rows_in"] == own).open(
        overwrite=overwrite, options=options, data=data
    ) as output:
        if output.finished is not None:
            return False
        for part in ("kept", "errors"):
            from imgdedup_spark.files import storage

            storage.write_text(output.part(part, "part-0.parquet"), text)
        if finish:
            output.finish({"rows_in": text})
        return True


def files(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def whole(text):
    return {
        "kept/part-0.parquet": text,
        "errors/part-0.parquet": text,
        "summary.json": json.dumps({"rows_in": text}, indent=2) + "\n",
    }


def test_a_run_and_one_that_replaces_it(out):
    assert run(out, "1") and files(out) == whole("1")
    (out / "mine").mkdir()
    (out / "mine" / "x.jpg").write_text("x")
    (out / "kept.txt").write_text("y")
    mine = {"mine/x.jpg": "x", "kept.txt": "y"}
    with pytest.raises(UserError, match="not empty"):
        run(out, "2")
    assert run(out, "2", overwrite=True)
    assert files(out) == whole("2") | mine and not (out / "_staging").exists()


def test_a_run_replaces_its_own_output(out):
    """Also after its new attempt was killed, and was given other options."""
    run(out, "1")
    with pytest.raises(UserError, match="not empty"):
        run(out, "2", options="p", own="0")
    run(out, "2", options="p", own="1", finish=False)
    assert files(out).items() >= whole("1").items()
    with pytest.raises(UserError, match="not empty"):
        run(out, "3", options="q", own="0")
    assert run(out, "3", options="q", own="1")
    assert files(out) == whole("3") and not (out / "_staging").exists()


def test_one_run_at_a_time(out):
    for overwrite in (True, False):
        with Output(str(out)).open(overwrite=False, options="o", data="d") as output:
            before = files(out)
            with pytest.raises(JobError, match="another run is at work there"):
                run(out, "2", overwrite=overwrite)
            assert files(out) == before
            output.finish({"rows_in": 0})
        for path in sorted(out.rglob("*"), reverse=True):
            path.unlink()


@pytest.mark.parametrize("overwrite", [True, False])
def test_what_a_killed_run_had_begun(out, overwrite):
    """Unfinished: it is begun again, with the same options alone unless it may overwrite."""
    run(out, "1", finish=False)
    if overwrite:
        assert run(out, "2", options="p", overwrite=True)
    else:
        with pytest.raises(UserError, match="not empty"):
            run(out, "2", options="p")
        assert run(out, "2", data="e")
    assert files(out) == whole("2")


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize(("data", "again", "taken"), [("d", "d", True), ("d", "e", False), ("", "", False)])
def test_what_a_killed_run_had_finished(out, monkeypatch, beside, data, again, taken):
    if beside:
        run(out, "0", options="before")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        name = "_write_summary" if beside else "_clear_staging"
        real, calls = getattr(Output, name), []

        def stop(self, *how):
            calls.append(name)
            if beside or len(calls) == 2:
                raise KeyboardInterrupt
            real(self, *how)

        patch.setattr(Output, name, stop)
        run(out, "1", data=data, overwrite=beside)
    assert run(out, "2", data=again) is not taken
    assert files(out) == whole("1" if taken else "2") and not (out / "_staging").exists()


def test_nothing_goes_in_the_wrong_order(out, monkeypatch):
    """Killed at any moment of the swap and of clearing up after it, the next attempt ends with a whole result."""
    from imgdedup_spark.files import storage

    for point in range(12):
        run(out, "0", options="before", overwrite=True)
        deleted = []
        real = storage.delete

        def stop(uri, deleted=deleted, real=real, point=point):
            if "lock-" not in uri:
                deleted.append(uri)
            if len(deleted) == 5 + point:
                raise KeyboardInterrupt
            real(uri)

        with monkeypatch.context() as patch:
            patch.setattr(storage, "delete", stop)
            try:
                run(out, "1", overwrite=True)
            except KeyboardInterrupt:
                run(out, "1")
        if len(deleted) == 5 + point:
            assert files(out) == whole("1"), deleted
    assert files(out) == whole("1")


@pytest.mark.parametrize("name", ["kept", "errors", "_staging", "summary.json"])
def test_links_are_not_followed(out, tmp_path, name):
    run(out, "1")
    users = tmp_path / "users"
    if name == "summary.json":
        users.write_text('{"rows_in": 1}')
        (out / name).unlink()
    else:
        users.mkdir()
        (users / "part-0.parquet").write_text("mine")
        if (out / name).exists():
            (out / name / "part-0.parquet").unlink()
            (out / name).rmdir()
    (out / name).symlink_to(users)
    before = files(out), users.read_text() if users.is_file() else files(users)
    with pytest.raises(UserError, match=f"{name} in it is a link"):
        run(out, "2", overwrite=True)
    assert before == (files(out), users.read_text() if users.is_file() else files(users))


def test_an_output_that_is_a_link_is_what_it_leads_to(out, tmp_path):
    (tmp_path / "disk").mkdir()
    out.symlink_to(tmp_path / "disk")
    run(out, "1")
    run(out, "2", overwrite=True)
    assert out.is_symlink() and files(tmp_path / "disk") == whole("2")


@pytest.mark.parametrize(
    "path", ["kept/cat.jpg", "errors/2026/notes.txt", "kept/_DSC0001.JPG", "summary.json", "report.html"]
)
@pytest.mark.parametrize("after", [True, False])
def test_what_the_user_has_put_where_a_part_goes(out, path, after):
    """In a folder that no run has written to, and in an output."""
    if after and "/" not in path:
        return
    if after:
        run(out, "1")
    (out / path).parent.mkdir(parents=True, exist_ok=True)
    (out / path).write_text("[]")
    before = files(out)
    with pytest.raises(UserError, match=r"in it (is not of a run|was not written by a run)"):
        run(out, "2", overwrite=True)
    assert files(out) == before


def test_what_spark_puts_there_is_a_runs_own(out):
    run(out, "1")
    for name in ("_SUCCESS", "._SUCCESS.crc", ".part-0.parquet.crc", "_committed_12", "part-0-x.snappy.parquet"):
        (out / "kept" / name).write_text("")
    run(out, "2", overwrite=True)
    assert files(out) == whole("2")


def test_a_file_is_no_folder(out):
    out.write_text("x")
    for overwrite in (True, False):
        with pytest.raises(UserError, match="it is a file"):
            run(out, "1", overwrite=overwrite)
    assert out.read_text() == "x"


def test_wrong_options_leave_what_was_there(out):
    for made in (False, True):
        if made:
            out.mkdir()
        with pytest.raises(UserError, match="column"), Output(str(out)).open(overwrite=False, options="o", data="d"):
            raise UserError("no such column")
        assert out.exists() == made and (not made or not list(out.iterdir()))


def test_what_cannot_be_cleared_after_the_summary_does_not_fail_the_run(tmp_path, monkeypatch, caplog):
    def refuse(uri):
        raise OSError(5, "Input/output error", uri)

    with Output(str(tmp_path / "out")).open(overwrite=False) as output:
        monkeypatch.setattr("imgdedup_spark.files.storage.delete", refuse)
        output.finish({"rows_in": 1})
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == {"rows_in": 1}
    assert "could not be cleared" in caplog.text
