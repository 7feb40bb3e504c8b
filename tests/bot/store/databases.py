"""Empty databases for tests: SQLite in a file, and Postgres where a server answers on this machine."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.store.database import Database

POSTGRES = os.environ.get("LIKENESS_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@contextlib.contextmanager
def empty_url(kind: str, folder: Path) -> Iterator[str]:
    """The address of a database without any table; a Postgres one is dropped afterwards."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'likeness.db'}"
        return
    psycopg = pytest.importorskip("psycopg")
    admin = POSTGRES.replace("+psycopg", "")
    name = f"likeness_test_{uuid.uuid4().hex[:12]}"
    try:
        connection = psycopg.connect(admin, autocommit=True, connect_timeout=2)
    except psycopg.OperationalError as error:
        pytest.skip(f"no Postgres answers at {admin}: NOT tested there ({error})")
    with connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield POSTGRES.rsplit("/", 1)[0] + "/" + name
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextlib.contextmanager
def migrated(kind: str, folder: Path) -> Iterator[Database]:
    """A database with all tables."""
    with empty_url(kind, folder) as url:
        database = Database(url)
        database.migrate()
        try:
            yield database
        finally:
            database.close()
