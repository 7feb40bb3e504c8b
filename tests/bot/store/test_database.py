"""One transaction a call, shared commits, migrations that agree with the models: on SQLite and Postgres."""

import asyncio
import multiprocessing
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlmodel import Session, SQLModel, func, select

from bot.errors import OperatorError, ServiceUnavailable
from bot.store import work
from bot.store.database import MIGRATIONS, Database, lock
from bot.store.models import ConsentRow, DoomedRow
from tests.bot.store.databases import KINDS, empty_url, migrated


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with migrated(request.param, tmp_path) as database:
        yield database


def add(key: str):
    return lambda session: session.add(DoomedRow(key=key))


def keys(session: Session) -> list[str]:
    return sorted(session.exec(select(DoomedRow.key)).all())


async def test_what_returned_is_kept_and_what_raised_is_not(database: Database) -> None:
    def fail(session: Session) -> None:
        session.add(DoomedRow(key="lost"))
        session.flush()
        raise ValueError("no")

    await database.run(add("kept"))
    with pytest.raises(ValueError, match="no"):
        await database.run(fail)
    assert await database.read(keys) == ["kept"]


class Hold:
    """A write that goes on until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, session: Session) -> None:
        self.begun.set()
        assert self.go.wait(60)

    async def under_way(self) -> None:
        """From here on the writer is busy."""
        assert await asyncio.to_thread(self.begun.wait, 60)


async def test_many_that_wait_share_a_commit_and_one_bad_one_harms_nobody(database: Database) -> None:
    hold = Hold()
    holding = asyncio.create_task(database.run(hold))
    await hold.under_way()  # what comes now is one batch
    tasks = [asyncio.create_task(database.run(add(f"k{number}"))) for number in range(5)]
    twice = asyncio.create_task(database.run(add("k0")))  # breaks the primary key
    await asyncio.sleep(0)
    hold.go.set()
    await holding
    await asyncio.gather(*tasks)
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        await twice
    assert await database.read(keys) == [f"k{number}" for number in range(5)]


async def test_a_read_does_not_wait_for_a_write_and_changes_nothing(database: Database) -> None:
    hold = Hold()
    writing = asyncio.create_task(database.run(lambda session: (add("a")(session), hold(session))))
    await hold.under_way()
    assert await database.read(keys) == []
    hold.go.set()
    await writing
    assert await database.read(keys) == ["a"]


async def test_writers_of_two_processes_take_turns(tmp_path: Path) -> None:
    with migrated("sqlite", tmp_path) as one:
        two = Database(f"sqlite:///{tmp_path / 'likeness.db'}")

        def count_up(session: Session) -> None:
            row = session.get(DoomedRow, "counter")
            number = int(row.key == "counter") if row else 0
            session.add(
                DoomedRow(key=f"{session.exec(select(func.count()).select_from(DoomedRow)).one():04}")
            )
            assert number == 0

        await asyncio.gather(*(each.run(count_up) for _ in range(50) for each in (one, two)))
        assert await two.read(keys) == [f"{number:04}" for number in range(100)]
        two.close()


async def test_changed_wakes_after_an_own_write_and_by_time(database: Database) -> None:
    seen = await database.changed(-1, 0)
    waiting = asyncio.create_task(database.changed(seen, 60))
    await asyncio.sleep(0)
    await database.run(add("x"))
    assert await waiting > seen
    started = time.monotonic()
    now = await database.changed(await database.changed(-1, 0), 0.05)
    assert time.monotonic() - started >= 0.04
    assert await database.changed(now - 1, 10) == now  # nothing that happened before is missed


async def test_a_cancelled_wait_costs_the_others_nothing(database: Database) -> None:
    hold = Hold()
    holding = asyncio.create_task(database.run(hold))
    await hold.under_way()
    dropped = asyncio.create_task(database.run(add("dropped")))
    kept = asyncio.create_task(database.run(add("kept")))
    await asyncio.sleep(0)
    dropped.cancel()
    await asyncio.wait({dropped})  # cancelled while it waits, not while it is written
    hold.go.set()
    await asyncio.gather(holding, kept)
    assert await database.read(keys) == ["kept"]


async def test_a_lock_holds_until_the_transaction_ends(database: Database) -> None:
    def locked(session: Session) -> int:
        lock(session, "person")
        return 1

    assert await database.run(locked) == 1
    assert await database.run(locked) == 1


async def test_closing_finishes_what_waits(tmp_path: Path) -> None:
    with migrated("sqlite", tmp_path) as database:
        tasks = [asyncio.create_task(database.run(add(f"{number}"))) for number in range(100)]
        await asyncio.sleep(0)
        await asyncio.to_thread(database.close)
        await asyncio.gather(*tasks)
        database.close()
        with pytest.raises(ServiceUnavailable):
            await database.run(add("late"))


async def test_a_database_that_does_not_answer_is_said_plainly(tmp_path: Path) -> None:
    database = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(ServiceUnavailable, match="database"):
        database.migrate()
    with pytest.raises(ServiceUnavailable, match="database"):
        await database.run(keys)
    with pytest.raises(ServiceUnavailable, match="database"):
        await database.read(keys)
    database.close()


async def test_ids_are_never_used_again(database: Database) -> None:
    def consent(session: Session) -> int:
        row = ConsentRow(person_hash="h", version=1, at=0.0)
        session.add(row)
        session.flush()
        assert row.id
        return row.id

    first = await database.run(consent)
    await database.run(lambda session: session.delete(session.get(ConsentRow, first)))
    if database.dialect == "postgresql":  # SQLite promises it only where ids matter: inbox and outbox
        assert await database.run(consent) > first
    tables = SQLModel.metadata.tables
    for name in ("inbox", "outbox"):
        assert tables[name].dialect_options["sqlite"]["autoincrement"]


async def test_models_and_migrations_agree(database: Database) -> None:
    def differences(session: Session) -> list[object]:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        return list(compare_metadata(context, SQLModel.metadata))

    assert await database.read(differences) == []


def _migrate(url: str) -> None:
    database = Database(url)
    database.migrate()
    database.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_processes_that_start_together_migrate_once(kind: str, tmp_path: Path) -> None:
    with empty_url(kind, tmp_path) as url:
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=_migrate, args=(url,)) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * 4
        database = Database(url)
        database.migrate()  # again: nothing to do
        assert asyncio.run(_versions(database)) == ["0004"]
        database.close()


async def _versions(database: Database) -> list[str]:
    return await database.read(
        lambda session: list(
            session.connection().execute(text("SELECT version_num FROM alembic_version")).scalars()
        )
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_a_job_of_an_earlier_release_goes_on(kind: str, tmp_path: Path) -> None:
    columns = {
        "id": "train:a1", "kind": "train", "person_id": "p", "subject_id": "a1", "state": "queued",
        "payload": '{"kind": "train", "adapter_id": "a1", "selfie_ids": []}', "attempt": 29, "failures": 9,
        "heartbeat_at": 1.0, "woken_at": 1.0, "created_at": 1.0, "cancel_requested": False, "worker": "",
        "reason": "",
    }  # fmt: skip
    insert = f"INSERT INTO job ({', '.join(columns)}) VALUES ({', '.join(':' + name for name in columns)})"
    with empty_url(kind, tmp_path) as url:
        database, config = Database(url), Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with database._engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0003")
            connection.execute(text(insert), columns)
        database.migrate()
        claim = await database.run(
            lambda session: work.claim(session, id="train:a1", worker="w", now=2.0, stale_seconds=60.0)
        )
        assert claim is not None
        assert (claim.attempt, claim.furthest_attempt, claim.exhausted) == (30, 0, False)
        database.close()


@pytest.mark.parametrize("kind", KINDS)
def test_tables_of_a_later_release_are_said_plainly(kind: str, tmp_path: Path) -> None:
    with empty_url(kind, tmp_path) as url:
        database = Database(url)
        database.migrate()
        with database._engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        for look in (database.migrate, database.behind):
            with pytest.raises(OperatorError, match="later release"):
                look()
        database.close()


def test_a_file_that_is_no_database_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "likeness.db").write_bytes(b"no database " * 100)
    database = Database(f"sqlite:///{tmp_path / 'likeness.db'}")
    for look in (database.migrate, database.behind):
        with pytest.raises(ServiceUnavailable):
            look()
    database.close()
