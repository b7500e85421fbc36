"""The quickstart on classic Spark, in a kernel of its own, and a few pictures; through Spark Connect: execute.py."""

from __future__ import annotations

import sys
from pathlib import Path

import conftest
import pyspark
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "demo"))


@pytest.mark.spark
@pytest.mark.skipif(conftest.MODE != "classic" or pyspark.__version__.startswith("3."), reason="once is enough")
@pytest.mark.long
def test_the_quickstart(tmp_path, monkeypatch):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    import make_data
    import pyarrow.parquet as pq
    from execute import check, execute

    monkeypatch.setattr(make_data, "PHOTOGRAPHS", make_data.PHOTOGRAPHS[:4])
    monkeypatch.setattr(make_data, "CROPS", 4)
    make_data.main(tmp_path / "in")
    arguments = "--master local[2] --driver-memory 2g --conf spark.ui.enabled=false pyspark-shell"
    shown = execute(tmp_path / "in", tmp_path / "out", PYSPARK_SUBMIT_ARGS=arguments)
    check(shown)
    kept = sum(pq.ParquetFile(one).metadata.num_rows for one in (tmp_path / "out" / "kept").glob("part-*"))
    assert f", {kept} kept, " in shown
