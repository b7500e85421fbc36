"""What the user has set of Spark is found, and left alone."""

from __future__ import annotations

import pytest

from imgdedup_spark.spark.given import given_local, given_settings, gives_log


@pytest.fixture
def conf(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    for name in ("PYSPARK_SUBMIT_ARGS", "SPARK_SUBMIT_OPTS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_settings(conf, monkeypatch):
    assert given_settings() == set()
    text = "# spark.master local\n\nspark.driver.memory  8g\n spark.app.name=mine\nspark.a: b\n"
    (conf / "spark-defaults.conf").write_text(text)
    assert given_settings() == {"spark.driver.memory", "spark.app.name", "spark.a"}
    (conf / "other.conf").write_text("spark.x y")
    arguments = f"--driver-memory 8g --conf spark.ui.enabled=false --conf=spark.y=z --properties-file {conf}/other.conf"
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", f"{arguments} --name mine pyspark-shell")
    assert given_settings() == {
        "spark.driver.memory", "spark.ui.enabled", "spark.y", "spark.x", "spark.app.name"
    }  # fmt: skip


def test_a_log_of_the_users_own(conf, monkeypatch):
    assert not gives_log()
    monkeypatch.setenv("SPARK_SUBMIT_OPTS", "-Dlog4j2.configurationFile=/x")
    assert gives_log()
    monkeypatch.delenv("SPARK_SUBMIT_OPTS")
    (conf / "log4j2.xml").write_text("")
    assert gives_log()


@pytest.mark.parametrize(
    ("arguments", "defaults", "local"),
    [
        ("", "", True),
        ("--master local[2] pyspark-shell", "", True),
        ("--master=local pyspark-shell", "", True),
        ("--conf spark.master=local[*] pyspark-shell", "spark.master yarn", True),
        ("--master yarn pyspark-shell", "", False),
        ("--conf spark.master=spark://host:7077 pyspark-shell", "", False),
        ("--conf spark.a=1 pyspark-shell", "spark.master yarn", False),
        ("--master yarn --conf spark.master=local pyspark-shell", "", False),
    ],
)
def test_whether_a_session_is_local(monkeypatch, tmp_path, arguments, defaults, local):
    (tmp_path / "spark-defaults.conf").write_text(defaults)
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", arguments)
    monkeypatch.delenv("MASTER", raising=False)
    assert given_local() is local


def test_a_master_by_its_variable(conf, monkeypatch):
    monkeypatch.setenv("MASTER", "spark://host:7077")
    assert not given_local()
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--master local[2] pyspark-shell")
    assert given_local()
