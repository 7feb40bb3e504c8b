"""What is old goes, what is needed stays; run twice, nothing more happens."""

import os
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import SQLModel, select

from bot.config import RetentionSettings
from bot.retention import DAY_SECONDS, HOUR_SECONDS, ORPHAN_SECONDS, PAYLOAD_SECONDS, ROW_SECONDS, Retention
from bot.store.blobs import FolderBlobs
from bot.store.database import Database
from bot.store.models import (
    AdapterRow,
    DoomedRow,
    HeadshotRow,
    InboxRow,
    JobRow,
    OutboxRow,
    PersonRow,
    PhotoRow,
    ShootRow,
)
from tests.fakes import FixedClock

SETTINGS = RetentionSettings(selfie_hours=24, adapter_idle_days=30, headshot_hours=24)


class House:
    def __init__(self, database: Database, blobs: FolderBlobs, clock: FixedClock) -> None:
        self.database, self.blobs, self.clock = database, blobs, clock
        self.retention = Retention(database, blobs, SETTINGS, clock)
        self.born = clock()

    async def add(self, *rows: SQLModel) -> None:
        for row in rows:
            for key in (getattr(row, name, "") for name in ("blob", "clean_blob", "facts_blob")):
                if key:
                    self.blobs.put(key, b"x")
        await self.database.run(lambda session: session.add_all(rows))

    async def after(self, seconds: float) -> dict[str, int]:
        self.clock.now = self.born + seconds
        return await self.retention.drain()

    async def ids(self, table: type[Any]) -> list[Any]:
        column: Any = table.id if table is not DoomedRow else table.key  # type: ignore[attr-defined]
        return sorted(await self.database.read(lambda session: session.exec(select(column)).all()))

    def person(self) -> PersonRow:
        return PersonRow(
            id="p", platform="fake", user_id="p", state={}, created_at=self.born, seen_at=self.born
        )

    def photo(self, id: str, at: float = 0.0) -> PhotoRow:
        return PhotoRow(
            id=id, person_id="p", number=1, platform="fake", file={}, status="accepted", clean_blob=f"c/{id}",
            facts_blob=f"f/{id}", created_at=self.born + at,
        )  # fmt: skip

    def adapter(self, id: str, status: str = "ready", at: float = 10.0) -> AdapterRow:
        return AdapterRow(
            id=id, person_id="p", status=status, selfie_ids=[], blob=f"a/{id}", created_at=self.born + at,
            finished_at=self.born + at + 10 if status != "training" else None,
        )  # fmt: skip

    def shoot(self, id: str, adapter: str, at: float, status: str = "ready") -> ShootRow:
        return ShootRow(
            id=id, person_id="p", adapter_id=adapter, status=status, style="s", prompt="p", count=1, seed=1,
            place={}, created_at=self.born + at,
        )  # fmt: skip

    def headshot(self, id: str, shoot: str = "s") -> HeadshotRow:
        return HeadshotRow(
            id=id, shoot_id=shoot, person_id="p", index=0, blob=f"h/{id}", width=1, height=1, seed=1,
            created_at=self.born,
        )  # fmt: skip

    def item(self, key: str, state: str, **values: Any) -> OutboxRow:
        return OutboxRow(
            key=key, platform="fake", person_id="p", user_id="p", place={}, state=state, created_at=self.born,
            **{"kind": "message", **values},
        )  # fmt: skip

    def job(self, id: str, state: str) -> JobRow:
        return JobRow(
            id=f"train:{id}", kind="train", person_id="p", subject_id=id, payload={}, state=state,
            created_at=self.born, finished_at=self.born if state == "done" else None,
        )  # fmt: skip


@pytest.fixture
def house(database: Database, blobs: FolderBlobs, clock: FixedClock) -> House:
    return House(database, blobs, clock)


async def test_selfies_go_some_hours_after_a_training_and_newer_ones_stay(house: House) -> None:
    await house.add(house.person(), house.photo("old"), house.photo("new", at=100.0), house.adapter("a"))
    assert (await house.after(23 * HOUR_SECONDS))["selfies"] == 0
    assert (await house.after(25 * HOUR_SECONDS))["selfies"] == 1
    assert (await house.after(25 * HOUR_SECONDS))["selfies"] == 0
    assert await house.ids(PhotoRow) == ["new"]
    assert sorted(house.blobs.keys(4e9)) == ["a/a", "c/new", "f/new"]
    assert await house.ids(DoomedRow) == []


@pytest.mark.parametrize("status", ["failed", "training"])
async def test_selfies_of_a_training_that_came_to_nothing_stay(status: str, house: House) -> None:
    await house.add(house.person(), house.photo("p"), house.adapter("a", status))
    assert (await house.after(48 * HOUR_SECONDS))["selfies"] == 0


async def test_selfies_wait_while_a_training_needs_them(house: House) -> None:
    await house.add(house.person(), house.photo("p"), house.adapter("a"), house.job("b", "running"))
    assert (await house.after(48 * HOUR_SECONDS))["selfies"] == 0


async def test_adapters_go_when_nobody_used_them_for_long(house: House) -> None:
    await house.add(
        house.person(),
        *(house.adapter(id) for id in ("idle", "used", "using")),
        house.shoot("s1", "used", at=20 * DAY_SECONDS),
        house.shoot("s2", "using", at=0, status="running"),
        house.shoot("s3", "idle", at=0),
    )
    assert (await house.after(29 * DAY_SECONDS))["adapters"] == 0
    assert (await house.after(31 * DAY_SECONDS))["adapters"] == 1
    assert await house.ids(AdapterRow) == ["used", "using"]
    assert not house.blobs.exists("a/idle")


async def test_headshots_go_after_delivery_and_never_before(house: House) -> None:
    await house.add(
        house.person(),
        *(house.headshot(id) for id in ("sent", "late", "waits", "parked")),
        house.item("1", "sent", kind="headshot", blobs=["h/sent"], sent_at=house.born),
        house.item("2", "sent", kind="headshot", blobs=["h/late"], sent_at=house.born + 20 * HOUR_SECONDS),
        house.item("3", "pending", kind="headshot", blobs=["h/waits"]),
        house.item("4", "parked", kind="headshot", blobs=["h/parked"]),
    )
    assert (await house.after(23 * HOUR_SECONDS))["headshots"] == 0
    assert (await house.after(25 * HOUR_SECONDS))["headshots"] == 1
    assert await house.ids(HeadshotRow) == ["late", "parked", "waits"]
    assert (await house.after(45 * HOUR_SECONDS))["headshots"] == 1
    assert not house.blobs.exists("h/late")
    assert house.blobs.exists("h/waits")


async def test_updates_are_emptied_and_then_forgotten(house: House) -> None:
    values: dict[str, Any] = {"platform": "fake", "source": "platform", "payload": {"text": "hello"}}
    await house.add(
        InboxRow(key="handled", received_at=house.born, handled_at=house.born, **values),
        InboxRow(key="open", received_at=house.born, **values),
    )

    async def payloads() -> dict[str, Any]:
        rows = await house.database.read(lambda session: session.exec(select(InboxRow)).all())
        return {row.key: row.payload for row in rows}

    await house.after(PAYLOAD_SECONDS - 1)
    assert (await payloads())["handled"] == {"text": "hello"}
    await house.after(PAYLOAD_SECONDS + 1)
    assert await payloads() == {"handled": {}, "open": {"text": "hello"}}
    await house.after(ROW_SECONDS + 1)
    assert list(await payloads()) == ["open"]


async def test_items_go_when_they_have_served(house: House) -> None:
    states = ("sent", "dead", "withdrawn", "pending", "parked")
    await house.add(house.person(), *(house.item(state, state) for state in states))
    assert (await house.after(ROW_SECONDS - 1))["items"] == 0
    assert (await house.after(ROW_SECONDS + 1))["items"] == 3


async def test_the_receipt_of_a_deletion_goes_as_soon_as_it_is_out(house: House) -> None:
    await house.add(house.item("1", "sent"), house.item("2", "pending"), house.item("3", "parked"))
    assert (await house.after(1))["items"] == 2


async def test_an_exported_file_goes_once_it_is_delivered(house: House) -> None:
    for name in ("sent", "waits"):
        house.blobs.put(f"e/{name}", b"x")
    await house.add(
        house.person(),
        house.item("1", "sent", kind="file", blobs=["e/sent"], sent_at=house.born),
        house.item("2", "pending", kind="file", blobs=["e/waits"]),
    )
    await house.after(1)
    await house.after(1)
    assert list(house.blobs.keys(4e9)) == ["e/waits"]


async def test_jobs_that_ended_long_ago_go(house: House) -> None:
    await house.add(house.person(), house.job("1", "done"), house.job("2", "queued"))
    assert (await house.after(ROW_SECONDS + 1))["jobs"] == 1


async def test_files_that_no_row_mentions_go_when_they_are_not_fresh(house: House, tmp_path: Path) -> None:
    await house.add(house.person(), house.photo("p"))
    for key in ("orphan/old", "orphan/fresh", "orphan/tmp-half"):
        house.blobs.put(key, b"x")
    for path in (path for path in (tmp_path / "blobs").rglob("*") if path.is_file()):
        age = 0.0 if path.name == "fresh" else ORPHAN_SECONDS + 10
        os.utime(path, (house.born - age, house.born - age))
    assert (await house.after(0))["files"] == 2
    assert sorted(house.blobs.keys(4e9)) == ["c/p", "f/p", "orphan/fresh"]


async def test_what_was_doomed_before_a_kill_is_deleted(house: House) -> None:
    house.blobs.put("persons/x/photos/1", b"x")
    await house.add(DoomedRow(key="persons/x/"))
    await house.after(0)
    assert list(house.blobs.keys(4e9)) == []
    assert await house.ids(DoomedRow) == []
