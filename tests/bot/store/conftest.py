"""A store that speaks S3, and a new bucket in it."""

import time
from collections.abc import Iterator

import pytest

from tests.bot.store.blob_places import Bucket
from tests.servers.s3_server import running_s3


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    with running_s3() as url:
        yield url


@pytest.fixture
def bucket(s3: str) -> Bucket:
    return Bucket(s3, f"b{time.time_ns()}")
