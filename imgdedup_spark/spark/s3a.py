"""What Spark knows of a bucket, in the settings of Hadoop's S3A, for a client of another library.

Keys that are read here go to the workers with the code that needs them, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

# Classes of ``fs.s3a.aws.credentials.provider``, by the last part of their name: those that hand out the keys in the
# settings, and those that find what the AWS libraries of the workers find too.
_KEYED = {"SimpleAWSCredentialsProvider", "TemporaryAWSCredentialsProvider"}
_FOUND = {
    "EnvironmentVariableCredentialsProvider", "IAMInstanceCredentialsProvider", "DefaultCredentialsProvider",
    "ProfileCredentialsProvider", "InstanceProfileCredentialsProvider", "ContainerCredentialsProvider",
    "WebIdentityTokenFileCredentialsProvider",
}  # fmt: skip
_ANONYMOUS = "AnonymousAWSCredentialsProvider"
#: What changes how objects are written, and pyarrow does not do.
_ONLY_SPARK = ("encryption.algorithm", "server-side-encryption-algorithm", "acl.default")
_AMAZON = re.compile(r"(?:^|\.)s3[.-](?:dualstack\.|fips\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com")


@dataclass(frozen=True)
class S3Settings:
    """Attributes:
    endpoint: host, port and maybe scheme; empty for Amazon's own.
    region: empty where it is not said.
    keys: access key, secret key and session token or "", all empty for nobody's; None where the settings have none.
    tls: whether requests are encrypted.
    needs_spark: whether the settings ask for something that only S3A does.
    """

    endpoint: str = ""
    region: str = ""
    keys: tuple[str, str, str] | None = None
    tls: bool = True
    needs_spark: bool = False

    def __repr__(self) -> str:
        """Without keys."""
        return f"S3Settings(endpoint={self.endpoint!r}, region={self.region!r})"

    def arguments(self, bucket: str) -> tuple[tuple[str, Any], ...]:
        """Of ``pyarrow.fs.S3FileSystem``. Path-style addresses are what it uses wherever an endpoint is given."""
        scheme, found, host = self.endpoint.rpartition("://")
        amazon = _AMAZON.search(host)
        made: dict[str, Any] = {"scheme": scheme if found else "https" if self.tls else "http"}
        if host and not amazon and host != "s3.amazonaws.com":
            made["endpoint_override"] = host
        region = self.region or (amazon[1] if amazon else "")
        if not region and bucket and "endpoint_override" not in made:
            region = _region_of(bucket)
        if region:
            made["region"] = region
        if self.keys is not None and not self.keys[0]:
            made["anonymous"] = True
        elif self.keys is not None:
            made |= {"access_key": self.keys[0], "secret_key": self.keys[1]}
            made |= {"session_token": self.keys[2]} if self.keys[2] else {}
        return tuple(sorted(made.items()))


def settings_for(spark: SparkSession, bucket: str) -> S3Settings:
    """What S3A would go by for a bucket; settings of the bucket's own come before those of all."""
    plain, secret = _lookups(spark)

    def get(name: str, look_up: Callable[[str], str] = plain) -> str:
        return look_up(f"fs.s3a.bucket.{bucket}.{name}") or look_up(f"fs.s3a.{name}")

    providers = [one.strip().rpartition(".")[2] for one in get("aws.credentials.provider").split(",") if one.strip()]
    access, hidden, token = (get(name, secret) for name in ("access.key", "secret.key", "session.token"))
    found: tuple[str, str, str] | None = None
    if access and hidden and (not providers or _KEYED & set(providers)):
        found = (access, hidden, token)
    elif providers and providers[0] == _ANONYMOUS:
        found = ("", "", "")
    foreign = bool(providers) and found is None and not _FOUND & set(providers)
    return S3Settings(
        endpoint=get("endpoint"),
        region=get("endpoint.region"),
        keys=found,
        tls=get("connection.ssl.enabled").lower() != "false",
        needs_spark=foreign or any(get(name) for name in _ONLY_SPARK),
    )


def _lookups(spark: SparkSession) -> tuple[Callable[[str], str], Callable[[str], str]]:
    """What looks a setting up, and what looks a secret up, which may lie in one of Hadoop's key stores."""
    try:
        hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    except Exception:  # Spark Connect, which knows what the server was started with

        def connected(name: str) -> str:
            return str(spark.conf.get(f"spark.hadoop.{name}", "") or "")

        return connected, connected

    def plain(name: str) -> str:
        return str(hadoop.getTrimmed(name) or "")

    def secret(name: str) -> str:
        with suppress(Exception):  # a key store that cannot be read: S3A will say so
            password = hadoop.getPassword(name)
            return "" if password is None else "".join(password).strip()
        return plain(name)

    return plain, secret


def _region_of(bucket: str) -> str:
    from pyarrow import fs

    with suppress(Exception):
        return str(fs.resolve_s3_region(bucket))
    return ""
