"""The database behind two threads: one writes, one reads. SQLite and Postgres through the same code.

Nobody outside `bot.store` opens a transaction. `run` gives a function a session in a transaction; functions
that wait at the same moment share one, so that under load the disk is synchronised once for many. Where one
of them fails, all of it is rolled back and each gets a transaction of its own: nobody's fault harms others.
"""

import asyncio
import contextlib
import logging
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlmodel import Session

from bot.errors import OperatorError, ServiceUnavailable

T = TypeVar("T")
log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
BATCH_MAX = 64  # functions in one commit
BUSY_SECONDS = 30.0  # how long SQLite waits for another process's transaction
# Every call into SQLite lets go of the interpreter's lock and may wait so long to get it back, a dozen times
# a message: with half a millisecond a burst of 200 messages takes a quarter longer.
SWITCH_SECONDS = 0.00002
OUTAGE_SECONDS = 1.0  # between attempts while it does not answer
_MIGRATION_LOCK = 0x6C696B65  # any number, the same in every process
_NEWER = "The database was made by a later release of Likeness: install that again, or bring back a backup."
_REMEDY = "Start it or mend [store] database_url; what was accepted so far is safe"


@dataclass
class _Work:
    run: Callable[[Session], Any]
    future: "Future[Any]" = field(default_factory=Future)


class Database:
    """One process's way to the database. Cheap to make; nothing is opened before the first use."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._waiting: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_all, name="database-writer", daemon=True)
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="database-reader")
        self._closed = False
        self._changes = 0
        self._watchers: set[asyncio.Event] = set()

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    def migrate(self) -> None:
        """Bring the tables up to date; processes that start together take turns.

        Raises ServiceUnavailable where the database does not answer, OperatorError where its tables are those
        of a later release.
        """
        if self._engine.url.database and self.dialect == "sqlite":
            Path(self._engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with _translated(), self._engine.begin() as connection:  # SQLite: BEGIN IMMEDIATE is the lock
            if self.dialect == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise OperatorError(_NEWER) from error

    def behind(self) -> bool:
        """Whether `migrate` has something to do. Raises as it does."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        try:
            with self._engine.connect() as connection:
                current = MigrationContext.configure(connection).get_current_revision()
        except DBAPIError as error:  # a damaged SQLite file is a plain DatabaseError
            raise _unavailable(error) from error
        script = ScriptDirectory.from_config(config)
        if current and current not in {each.revision for each in script.walk_revisions()}:
            raise OperatorError(_NEWER)
        return current != script.get_current_head()

    async def run(self, fn: Callable[[Session], T]) -> T:
        """Run `fn` in one transaction on the writer's thread; it is committed when this returns.

        What `fn` raises is raised here and nothing of it is kept. `fn` may be run twice, where it shared a
        transaction with one that failed, so it must do nothing but read and write the session.
        Raises ServiceUnavailable where the database does not answer.
        """
        if self._closed:
            raise ServiceUnavailable("The database", "It was closed: this process is stopping")
        if not self._writer.is_alive():
            self._writer.start()
        work = _Work(fn)
        self._waiting.put(work)
        result: T = await asyncio.wrap_future(work.future)
        self._pulse()
        return result

    async def insist(self, fn: Callable[[Session], T]) -> T:
        """Like `run`, tried until the database answers: for what cannot be found out or made again."""
        while True:
            try:
                return await self.run(fn)
            except ServiceUnavailable as error:
                if self._closed:
                    raise
                log.error("waiting for the database: %s", error)
                await asyncio.sleep(OUTAGE_SECONDS)

    async def read(self, fn: Callable[[Session], T]) -> T:
        """Run `fn` on the reader's thread, beside any write. What it changes is not kept."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, fn)

    async def changed(self, seen: int, timeout_seconds: float) -> int:
        """Wait until something was written through this object since `seen`, or for `timeout_seconds`.

        Returns the number to wait from the next time. What other processes write is found by the time-out.
        """
        if self._changes == seen:
            watcher = asyncio.Event()
            self._watchers.add(watcher)
            try:
                async with asyncio.timeout(timeout_seconds):  # wait_for can swallow a cancellation here
                    await watcher.wait()
            except TimeoutError:
                pass
            finally:
                self._watchers.discard(watcher)
        return self._changes

    def close(self) -> None:
        """Finish what waits and let go of the connections; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._waiting.put(None)
        if self._writer.is_alive():
            self._writer.join()
        self._readers.shutdown()
        self._engine.dispose()

    def _pulse(self) -> None:
        self._changes += 1
        for watcher in self._watchers:
            watcher.set()

    def _read(self, fn: Callable[[Session], T]) -> T:
        with _translated(), self._engine.connect() as connection:
            connection.info["reading"] = True
            try:
                with Session(connection) as session:
                    return fn(session)
            finally:
                connection.rollback()
                connection.info["reading"] = False

    def _write_all(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        while batch := self._next_batch():
            batch = [work for work in batch if work.future.set_running_or_notify_cancel()]
            if batch and not self._write(batch):
                for each in batch:
                    self._write([each])

    def _next_batch(self) -> list[_Work]:
        """Waits for work and takes all that is there; nothing once `close` was called."""
        batch: list[_Work] = []
        first = self._waiting.get()
        while first is not None:
            batch.append(first)
            try:
                first = self._waiting.get_nowait() if len(batch) < BATCH_MAX else None
            except queue.Empty:
                return batch
        if len(batch) < BATCH_MAX:
            self._waiting.put(None)  # for the next round, which ends
        return batch

    def _write(self, batch: list[_Work]) -> bool:
        """One transaction for all; False if it failed, and several may be tried each for itself."""
        alone = len(batch) == 1
        try:
            with self._engine.begin() as connection:
                results = [_call(connection, work.run) for work in batch]
        except Exception as error:  # noqa: BLE001  whoever waits for it gets it; this thread must go on
            if not alone:
                return False
            lost = isinstance(error, OperationalError | InterfaceError)
            batch[0].future.set_exception(_unavailable(error) if lost else error)
            return True
        for work, result in zip(batch, results, strict=True):
            work.future.set_result(result)
        return True


def lock(session: Session, name: str) -> None:
    """Until the transaction ends, no other transaction holds a lock of this name.

    SQLite has one writer at a time anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.connection().execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": name})


def _call(connection: Connection, fn: Callable[[Session], T]) -> T:
    with Session(connection, join_transaction_mode="rollback_only", expire_on_commit=False) as session:
        result = fn(session)
        session.flush()
        return result


def _engine(url: str) -> Engine:
    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        return create_engine(address, pool_size=2, pool_pre_ping=True, hide_parameters=True)
    engine = create_engine(address, pool_size=2, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin by itself: "begin" below does
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later could not wait for another writer.
        reading = connection.info.get("reading")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise _unavailable(error) from error
    except DatabaseError as error:
        if type(error) is not DatabaseError:  # plain: the file is damaged, or no database at all
            raise
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> ServiceUnavailable:
    unavailable = ServiceUnavailable("The database", _REMEDY)
    unavailable.__cause__ = error
    return unavailable
