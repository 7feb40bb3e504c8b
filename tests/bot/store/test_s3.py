"""What only a bucket can do wrong: be away, refuse, keep what was deleted, hold more than a page."""

import time
from typing import Any

import pytest

from bot.config import Settings
from bot.errors import BlobMissing, ConfigError, OperatorError, ServiceUnavailable
from bot.store import s3 as s3_module
from bot.store.s3 import S3Blobs
from bot.store.sealing import Seal
from tests.bot.store.blob_places import SECRETS, Bucket

KEY = "persons/ab/photos/p1"


def blobs_at(bucket: Bucket, secrets: dict[str, str] | None = None, **store: str) -> S3Blobs:
    changed = {**bucket.settings.store.model_dump(), **store}
    settings = Settings.model_validate({"store": changed, "secrets": SECRETS if secrets is None else secrets})
    return S3Blobs(settings, Seal(b"k" * 32))


def test_more_than_a_page_is_listed_and_deleted(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = blobs_at(bucket)
    pages = blobs._client.get_paginator
    monkeypatch.setattr(blobs._client, "get_paginator", lambda name: InThrees(pages(name)))
    for number in range(10):
        blobs.put(f"persons/ab/photos/p{number}", b"x")
    blobs.put("persons/abc/photos/p", b"x")
    assert len(list(blobs.keys(time.time() + 10))) == 11
    blobs.delete_prefix("persons/ab/")
    assert list(blobs.keys(time.time() + 10)) == ["persons/abc/photos/p"]


class InThrees:
    """A paginator with small pages."""

    def __init__(self, paginator: Any) -> None:
        self.paginator = paginator

    def paginate(self, **values: Any) -> Any:
        return self.paginator.paginate(**values, PaginationConfig={"PageSize": 3})


def test_what_others_have_put_there_is_not_ours(bucket: Bucket) -> None:
    for name in ("elsewhere/x", "some/where", "some/where/", "some/where/a b"):
        bucket.client.put_object(Bucket=bucket.name, Key=name, Body=b"x")
    assert list(bucket.blobs.keys(time.time() + 10)) == []


def test_a_bucket_that_keeps_what_is_deleted_is_refused(bucket: Bucket) -> None:
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    with pytest.raises(ConfigError, match="without versioning"):
        blobs_at(bucket).check()


@pytest.mark.parametrize("act", ["put", "get", "delete", "delete_prefix", "exists", "keys"])
def test_a_store_that_is_away(act: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "ATTEMPTS_MAX", 1)
    blobs = blobs_at(bucket, blob_endpoint="http://127.0.0.1:1")
    acts: dict[str, Any] = {
        "put": lambda: blobs.put(KEY, b"x"),
        "get": lambda: blobs.get(KEY),
        "delete": lambda: blobs.delete(KEY),
        "delete_prefix": lambda: blobs.delete_prefix("persons/ab/"),
        "exists": lambda: blobs.exists(KEY),
        "keys": lambda: list(blobs.keys(0.0)),
    }
    with pytest.raises(ServiceUnavailable, match="blob_endpoint"):
        acts[act]()


def test_a_bucket_that_is_not_there(bucket: Bucket) -> None:
    with pytest.raises(ServiceUnavailable, match="blob_url"):
        blobs_at(bucket, blob_url="s3://none-such/x").check()
    with pytest.raises(ServiceUnavailable, match="blob_url"):
        blobs_at(bucket, blob_url="s3://none-such/x").get(KEY)


def test_no_credentials_at_all(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ServiceUnavailable, match="AWS_ACCESS_KEY_ID"):
        blobs_at(bucket, secrets={}).put(KEY, b"x")


def test_without_its_library(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"likeness\[s3\]"):
        blobs_at(bucket)


@pytest.mark.parametrize(
    ("code", "kind"),
    [("NoSuchKey", BlobMissing), ("AccessDenied", OperatorError), ("SlowDown", OperatorError)],
)
def test_what_it_answers_is_told_in_our_words(code: str, kind: type[Exception]) -> None:
    from botocore.exceptions import ClientError

    with pytest.raises(kind), s3_module._faults(KEY):
        raise ClientError({"Error": {"Code": code}}, "GetObject")
