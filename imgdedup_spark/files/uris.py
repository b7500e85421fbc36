"""Paths and URLs as users write them, taken apart as Hadoop does."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from urllib.parse import unquote

from imgdedup_spark.errors import UserError

# Hadoop's names for what pyarrow calls s3.
_ALIASES = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
# As Hadoop reads paths: a scheme is followed by ":/". One letter is no scheme.
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?://([^/]*))?(/.*)?", re.DOTALL)
# How Hive and Spark spell null in the name of a folder.
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def split_uri(uri: str) -> tuple[str, str, str]:
    """(scheme, authority, path) of a plain URI; the scheme is ``file`` for local paths, made absolute."""
    match = _URI.fullmatch(uri) if ":/" in uri else None
    if match is None:
        return "file", "", _absolute_path(uri)
    scheme, authority, path = match[1].lower(), match[2] or "", match[3] or "/"
    scheme = _ALIASES.get(scheme, scheme)
    if scheme != "file":
        return scheme, authority, path
    if authority not in ("", "localhost"):
        raise UserError(f"{uri}: a file: URL names no host; write file:/{authority}{path}")
    return "file", "", _absolute_path(path)


def _absolute_path(path: str) -> str:
    # As Hadoop does, without looking at links: `a/link/..` is `a`. Path.resolve() would follow them.
    return os.path.abspath(path)  # noqa: PTH100


def from_spark(uri: str) -> str:
    """The plain form of ``_metadata.file_path`` or ``file_name``, percent-encoded except for non-ASCII."""
    return unquote(uri, errors="surrogateescape")


def encoded(uri: str) -> str:
    """A plain URI such that ``from_spark`` gives it back: UTF-8, even where a file's name is not."""
    return re.sub("[%\udc80-\udcff]", lambda found: f"%{ord(found[0]) & 0xFF:02X}", uri)


def escaped(uri: str) -> str:
    """A plain URI that Spark, reading it, takes for no glob."""
    return re.sub(r"([][{}*?\\])", r"\\\1", uri)


def folder_values(uri: str, keys: Sequence[str]) -> dict[str, str | None]:
    """What a file's folders named ``key=value`` say, as written, in whatever case; None where they say nothing."""
    parts = [part.partition("=") for part in uri.split("/")[:-1] if "=" in part]
    found = {key.lower(): value for key, _, value in parts}
    values = {key: found.get(key.lower(), NO_VALUE) for key in keys}
    return {key: None if value == NO_VALUE else unquote(value) for key, value in values.items()}


def absolute(uri: str) -> str:
    """The same place whatever the working directory is, which differs between the driver and the workers."""
    return split_uri(uri)[2] if is_local(uri) else uri


def rooted(uri: str) -> str:
    """A relative path as an absolute one, whose working directory is Python's and not the JVM's; all else as it is."""
    return uri if uri.startswith("/") or ":" in uri.partition("/")[0] else absolute(uri)


def is_local(uri: str) -> bool:
    return split_uri(uri)[0] == "file"


def join(uri: str, *names: str) -> str:
    return "/".join([uri.rstrip("/"), *names])
