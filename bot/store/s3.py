"""Encrypted files in a bucket: of Amazon, or of anything else that speaks S3 (MinIO, Ceph, R2, Garage, ...).

Only the oldest and plainest requests are made (put, get, head, list, delete of one object), because those are
what every store understands.
"""

import contextlib
import importlib.util
import secrets
from collections.abc import Iterator
from typing import Any

from bot.config import Settings
from bot.errors import BlobMissing, ConfigError, ServiceUnavailable
from bot.store.sealing import Seal, confirm_key, is_key

CONNECTIONS_MAX = 32  # at once, from as many threads
CONNECT_SECONDS, READ_SECONDS = 5, 60
ATTEMPTS_MAX = 3  # of one request, by the library
_SERVICE = "The bucket"
_MISSING = {"NoSuchKey", "404", "NotFound"}
_ANSWERS = {
    "NoSuchBucket": "Make it, or mend [store] blob_url",
    "AccessDenied": "Let the credentials list, read, write and delete there",
    "403": "Let the credentials list, read, write and delete there",
    "InvalidAccessKeyId": "Mend AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "Mend AWS_SECRET_ACCESS_KEY",
}


class S3Blobs:
    """`bot.store.blobs.BlobStore` in a bucket, below the prefix of `[store] blob_url`. Threads may share it.

    Raises ConfigError where its library is missing.
    """

    def __init__(self, settings: Settings, seal: Seal) -> None:
        self._bucket, self._prefix = settings.bucket
        self._client, self._seal = _client(settings), seal

    def put(self, key: str, data: bytes) -> None:
        """See `BlobStore`."""
        self._put(key, data)

    def get(self, key: str) -> bytes:
        """See `BlobStore`."""
        with _faults(key):
            sealed = self._client.get_object(**self._at(key))["Body"].read()
        return self._seal.open(key, sealed)

    def delete(self, key: str) -> None:
        """See `BlobStore`."""
        self._delete(self._at(key)["Key"])

    def delete_prefix(self, prefix: str) -> None:
        """See `BlobStore`."""
        below = self._at(prefix.removesuffix("/"))["Key"] + "/"
        for each in self._objects(below):
            self._delete(each["Key"])

    def exists(self, key: str) -> bool:
        """See `BlobStore`."""
        try:
            with _faults(key):
                self._client.head_object(**self._at(key))
        except BlobMissing:
            return False
        return True

    def keys(self, older_than: float) -> Iterator[str]:
        """See `BlobStore`."""
        for each in self._objects(self._prefix):
            key = each["Key"].removeprefix(self._prefix)
            if is_key(key) and each["LastModified"].timestamp() < older_than:
                yield key

    def check(self) -> None:
        """Write a file, list, read and delete it. Raises ServiceUnavailable, and ConfigError where the bucket
        keeps what is deleted."""
        key = f"check/{secrets.token_hex(8)}"
        versioned = self._put(key, b"") not in (None, "null")
        try:
            self.get(key)
            next(self._objects(self._at(key)["Key"]))
        finally:
            self.delete(key)
        if versioned:
            problem = "the bucket keeps old versions: what people have deleted would stay there"
            raise ConfigError("store.blob_url", problem, "Take a bucket without versioning")

    def _put(self, key: str, data: bytes) -> str | None:
        """The version that the bucket made of it, where it keeps versions."""
        with _faults(key):
            answer = self._client.put_object(**self._at(key), Body=self._seal.close(key, data))
        version: str | None = answer.get("VersionId")
        return version

    def _delete(self, name: str) -> None:
        with contextlib.suppress(BlobMissing), _faults(name):
            self._client.delete_object(Bucket=self._bucket, Key=name)

    def _objects(self, prefix: str) -> Iterator[dict[str, Any]]:
        """Every object whose name begins so, page by page."""
        pages = iter(
            self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        )
        while True:
            with _faults(prefix):
                page = next(pages, None)
            if page is None:
                return
            yield from page.get("Contents", ())

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + confirm_key(key)}


def _client(settings: Settings) -> Any:
    """A client of the bucket; credentials come from the environment, else as its library finds them."""
    if importlib.util.find_spec("boto3") is None:
        raise ConfigError("store.blob_url", "S3 needs its library", 'Install it: pip install "likeness[s3]"')
    import boto3
    from botocore.config import Config

    store = settings.store
    return boto3.session.Session().client(
        "s3",
        endpoint_url=store.blob_endpoint or None,
        region_name=store.blob_region or None,
        aws_access_key_id=settings.secret("AWS_ACCESS_KEY_ID") or None,
        aws_secret_access_key=settings.secret("AWS_SECRET_ACCESS_KEY") or None,
        aws_session_token=settings.secret("AWS_SESSION_TOKEN") or None,
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=CONNECTIONS_MAX,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS_MAX},
            s3={"addressing_style": "path" if store.blob_endpoint else "auto"},
            # Newer than many stores; what is read back is authenticated by its seal anyway.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


@contextlib.contextmanager
def _faults(key: str) -> Iterator[None]:
    """Its library's errors as ours: BlobMissing, ServiceUnavailable."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _MISSING:
            raise BlobMissing(key) from error
        raise ServiceUnavailable(_SERVICE, _ANSWERS.get(code, f"It answers {code}")) from error
    except NoCredentialsError as error:
        remedy = "Put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into .env"
        raise ServiceUnavailable(_SERVICE, remedy) from error
    except BotoCoreError as error:
        remedy = "Mend [store] blob_endpoint, or the network; what was accepted so far is safe"
        raise ServiceUnavailable(_SERVICE, remedy) from error
