"""Blob stores of every kind, seen from behind too: what really lies there."""

from pathlib import Path
from typing import Any

import boto3

from bot.config import Settings
from bot.store.blobs import BlobStore, FolderBlobs
from bot.store.s3 import S3Blobs
from bot.store.sealing import Seal

SECRETS = {"LIKENESS_KEY": "k" * 32, "AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests"}


class Folder:
    """A store in a folder, seen from behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs: BlobStore = self.opened(b"k" * 32)

    def opened(self, secret: bytes) -> BlobStore:
        return FolderBlobs(self.folder, Seal(secret))

    def read(self, key: str) -> bytes:
        return (self.folder / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        (self.folder / key).write_bytes(data)


class Bucket:
    """A store in a new bucket, seen from behind."""

    def __init__(self, url: str, name: str) -> None:
        store = {"blob_url": f"s3://{name}/some/where", "blob_endpoint": url, "blob_region": "us-east-1"}
        self.settings = Settings.model_validate({"store": store, "secrets": SECRETS})
        keys = {"aws_access_key_id": "tests", "aws_secret_access_key": "tests", "region_name": "us-east-1"}
        self.client = boto3.client("s3", endpoint_url=url, **keys)
        self.client.create_bucket(Bucket=name)
        self.name = name
        self.blobs: BlobStore = self.opened(b"k" * 32)

    def opened(self, secret: bytes) -> BlobStore:
        return S3Blobs(self.settings, Seal(secret))

    def read(self, key: str) -> bytes:
        answer: dict[str, Any] = self.client.get_object(Bucket=self.name, Key=f"some/where/{key}")
        return bytes(answer["Body"].read())

    def write(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=f"some/where/{key}", Body=data)
