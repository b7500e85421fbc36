"""What the user has set of a Spark that the job starts: that is left alone."""

from __future__ import annotations

import os
import re
import shlex
from itertools import pairwise
from pathlib import Path

_LOG_FILES = tuple(f"log4j2.{ending}" for ending in ("properties", "xml", "yaml", "yml", "json", "jsn"))
_FLAGS = {"--driver-memory": "spark.driver.memory", "--name": "spark.app.name", "--master": "spark.master"}


def given_settings() -> set[str]:
    """Names of the settings in ``PYSPARK_SUBMIT_ARGS`` and ``spark-defaults.conf``, for a JVM that PySpark starts."""
    return set(_given())


def given_local() -> bool:
    """Whether a JVM that PySpark starts works on this machine alone: what it does unless somebody says otherwise."""
    return _given().get("spark.master", os.environ.get("MASTER", "local")).startswith("local")


def _given() -> dict[str, str]:
    """Settings with their values: flags of their own before ``--conf``, and that before the file, as Spark has it."""
    words = shlex.split(os.environ.get("PYSPARK_SUBMIT_ARGS", ""))
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    file = _conf_folder() / "spark-defaults.conf"
    flags, settings, defaults = {}, {}, {}
    for flag, value in pairwise(words):
        if flag in ("--conf", "-c"):
            name, _, what = value.partition("=")
            settings[name] = what
        elif flag == "--properties-file":
            file = Path(value)
        elif flag in _FLAGS:
            flags[_FLAGS[flag]] = value
    if file.is_file():
        for line in map(str.strip, file.read_text("utf-8", "replace").splitlines()):
            if line and line[0] not in "#!":
                name, *rest = re.split(r"[\s=:]", line, maxsplit=1)
                defaults[name] = "".join(rest).lstrip(" \t=:")
    return {**defaults, **settings, **flags}


def gives_log() -> bool:
    """Whether there is a configuration of the log for a JVM that PySpark starts."""
    return "log4j" in given_to_java() or any((_conf_folder() / name).is_file() for name in _LOG_FILES)


def given_to_java() -> str:
    """All that a JVM that PySpark starts is told by variables."""
    names = ("SPARK_SUBMIT_OPTS", "PYSPARK_SUBMIT_ARGS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
    return " ".join(os.environ.get(name, "") for name in names)


def quiet_submitted(jvm: object) -> None:
    """Quietens the log of a JVM that runs already, if its user has no configuration of it."""
    system = jvm.java.lang.System  # type: ignore[attr-defined]
    if any(
        system.getProperty(one) for one in ("log4j2.configurationFile", "log4j.configurationFile", "spark.log.level")
    ):
        return
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()  # type: ignore[attr-defined]
    if any(loader.getResource(name) is not None for name in _LOG_FILES):
        return
    # Spark loads its own configuration before it first logs in a program, and would undo what is set before that.
    spark_utils = getattr(jvm.org.apache.spark.util, "Utils$")  # type: ignore[attr-defined]
    getattr(spark_utils, "MODULE$").initializeLogIfNecessary(False, True)
    log4j = jvm.org.apache.logging.log4j  # type: ignore[attr-defined]
    log4j.core.config.Configurator.setRootLevel(log4j.Level.FATAL)


def _conf_folder() -> Path:
    if "SPARK_CONF_DIR" in os.environ:
        return Path(os.environ["SPARK_CONF_DIR"])
    from pyspark.find_spark_home import _find_spark_home

    return Path(_find_spark_home()) / "conf"
