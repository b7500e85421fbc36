"""What S3A's settings say, for another library."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import pytest

from imgdedup_spark.files import access
from imgdedup_spark.files.access import UNKNOWN, Carried, Way
from imgdedup_spark.spark.s3a import settings_for

KEYS = {"access.key": "AKIA", "secret.key": "sesame"}


def settings(given, bucket="lake"):
    named = {f"spark.hadoop.fs.s3a.{name}": value for name, value in given.items()}
    return settings_for(SimpleNamespace(conf=SimpleNamespace(get=named.get)), bucket)


@pytest.mark.parametrize(
    ("given", "keys", "more"),
    [
        (KEYS, ("AKIA", "sesame", ""), {}),
        (KEYS | {"session.token": "t"}, ("AKIA", "sesame", "t"), {"session_token": "t"}),
        (KEYS | {"bucket.lake.access.key": "OWN"}, ("OWN", "sesame", ""), {"access_key": "OWN"}),
        (KEYS | {"bucket.other.access.key": "OWN"}, ("AKIA", "sesame", ""), {"access_key": "AKIA"}),
        (KEYS | {"aws.credentials.provider": "x.IAMInstanceCredentialsProvider"}, None, {}),
        ({"aws.credentials.provider": "x.AnonymousAWSCredentialsProvider"}, ("", "", ""), {"anonymous": True}),
        (KEYS | {"endpoint": "http://here:9000"}, ("AKIA", "sesame", ""),
         {"scheme": "http", "endpoint_override": "here:9000"}),
        (KEYS | {"endpoint": "here:9000", "connection.ssl.enabled": "false"}, ("AKIA", "sesame", ""),
         {"scheme": "http", "endpoint_override": "here:9000"}),
        (KEYS | {"endpoint": "s3.eu-central-1.amazonaws.com"}, ("AKIA", "sesame", ""), {"region": "eu-central-1"}),
        (KEYS | {"endpoint": "s3-us-gov-west-1.amazonaws.com"}, ("AKIA", "sesame", ""), {"region": "us-gov-west-1"}),
        (KEYS | {"endpoint": "here", "endpoint.region": "r"}, ("AKIA", "sesame", ""),
         {"endpoint_override": "here", "region": "r"}),
    ],
)  # fmt: skip
def test_keys_and_endpoints(given, keys, more):
    found = settings(given)
    assert found.keys == keys and not found.needs_spark
    arguments = dict(found.arguments(""))  # of a bucket the region would be looked up
    assert arguments.items() >= ({"scheme": "https"} | more).items()
    assert ("endpoint_override" in arguments) == ("endpoint_override" in more)


@pytest.mark.parametrize(
    "given",
    [
        {"aws.credentials.provider": "org.apache.hadoop.fs.s3a.auth.AssumedRoleCredentialProvider"},
        KEYS | {"encryption.algorithm": "SSE-KMS"},
        KEYS | {"bucket.lake.acl.default": "BucketOwnerFullControl"},
    ],
)
def test_what_s3a_alone_does(given):
    assert settings(given).needs_spark
    assert not settings({name.replace("lake", "other"): "" for name in given}).needs_spark


def test_keys_travel_and_are_not_shown():
    way = Way(s3=settings(KEYS).arguments(""))
    assert "sesame" not in repr(way) + repr(settings(KEYS)) + str(way)
    access.use({("s3", "lake"): way, ("s3", ""): Way(by_spark=True)})
    work = pickle.loads(pickle.dumps(Carried(access.way_to)))
    try:
        access.use({})
        assert access.way_to("s3", "lake") is UNKNOWN
        assert work("s3", "lake") == way and work("s3", "any").by_spark and work("gs", "any") is UNKNOWN
    finally:
        access.use({})
