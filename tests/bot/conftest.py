"""A database with its tables, encrypted blobs and a clock, for the tests of the application's loops."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.store.blobs import FolderBlobs
from bot.store.database import Database
from bot.store.sealing import Seal
from tests.bot.store.databases import KINDS, migrated
from tests.fakes import FakePlatform, FixedClock, SilentWake


@pytest.fixture
def own_logging() -> Iterator[None]:
    """For what sets up the logs of a whole process: afterwards handlers and levels are as they were.

    A handler left behind would write to a stream that pytest closes at the end of the test.
    """
    root, loggers = logging.getLogger(), list(logging.Logger.manager.loggerDict.values())
    levels = {logger: logger.level for logger in (root, *loggers) if isinstance(logger, logging.Logger)}
    handlers = root.handlers[:]
    yield
    logging.captureWarnings(False)
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    for logger, level in levels.items():
        logger.setLevel(level)


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """On SQLite, and on Postgres where one answers."""
    with migrated(request.param, tmp_path) as database:
        yield database


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs", Seal(b"a secret of tests, no more"))


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


@pytest.fixture
def wake() -> SilentWake:
    return SilentWake()
