"""Opinions in the database: the last word counts, nobody speaks for another, and they go with the adapter."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import Session, select

from bot.store import deletion, opinions
from bot.store.database import Database
from bot.store.models import AdapterRow, DoomedRow, HeadshotRow, OpinionRow, ShootRow
from tests.bot.store.databases import KINDS, migrated


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with migrated(request.param, tmp_path) as database:
        yield database


def studio(session: Session) -> None:
    session.add(AdapterRow(id="a", person_id="ann", status="ready", selfie_ids=[], blob="w", created_at=1.0))
    session.add(
        ShootRow(
            id="s", person_id="ann", adapter_id="a", status="ready", style="x", prompt="p", count=3, seed=1,
            place={}, created_at=1.0,
        )
    )  # fmt: skip
    for n in range(3):
        session.add(
            HeadshotRow(
                id=f"s.{n}", shoot_id="s", person_id="ann", index=n, blob=f"h/{n}", width=1, height=1, seed=1,
                facts_blob=f"f/{n}", created_at=1.0,
            )
        )  # fmt: skip


async def say(database: Database, headshot: str, liked: bool, at: float, who: str = "ann") -> None:
    await database.run(
        lambda session: opinions.record(session, person_id=who, headshot_id=headshot, liked=liked, now=at)
    )


async def found(database: Database) -> tuple[tuple[str, ...], tuple[str, ...]]:
    def both(session: Session) -> tuple[tuple[str, ...], tuple[str, ...]]:
        liked = opinions.of_adapter(session, adapter_id="a", liked=True)
        return liked, opinions.of_adapter(session, adapter_id="a", liked=False)

    return await database.read(both)


async def test_the_last_word_on_each_headshot_counts(database: Database) -> None:
    await database.run(studio)
    await say(database, "s.1", True, 10.0)
    await say(database, "s.0", True, 20.0)
    await say(database, "s.2", False, 30.0)
    assert await found(database) == (("s.1", "s.0"), ("s.2",))
    await say(database, "s.1", False, 40.0)
    assert await found(database) == (("s.0",), ("s.2", "s.1"))


async def test_nobody_speaks_for_another_nor_of_what_is_not_there(database: Database) -> None:
    await database.run(studio)
    await say(database, "s.0", True, 10.0, who="eve")
    await say(database, "s.9", True, 10.0)
    assert await found(database) == ((), ())
    await say(database, "s.0", True, 10.0)
    await say(database, "s.0", False, 20.0, who="eve")
    assert await found(database) == (("s.0",), ())


async def test_it_outlives_the_headshot_and_goes_with_the_adapter(database: Database) -> None:
    await database.run(studio)
    await say(database, "s.0", True, 10.0)

    def drop_headshots(session: Session) -> None:
        deletion.drop_headshots(session, session.exec(select(HeadshotRow)).all())

    def doomed(session: Session) -> set[str]:
        return set(session.exec(select(DoomedRow.key)).all())

    await database.run(drop_headshots)
    assert await database.read(doomed) == {"h/0", "h/1", "h/2", "f/1", "f/2"}
    assert await found(database) == (("s.0",), ())
    await database.run(lambda session: deletion.drop_adapter(session, person_id="ann", adapter_id="a"))
    assert await database.read(doomed) >= {"w", "f/0"}
    assert await database.read(lambda session: list(session.exec(select(OpinionRow)).all())) == []


async def test_only_the_newest_are_remembered(database: Database, monkeypatch) -> None:
    monkeypatch.setattr(opinions, "REMEMBERED", 2)
    await database.run(studio)
    for n in range(3):
        await say(database, f"s.{n}", True, 10.0 + n)
    assert await found(database) == (("s.1", "s.2"), ())
