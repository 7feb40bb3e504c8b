"""Every photo is fetched, sealed and given to be checked; what cannot be had is said."""

import asyncio
from typing import Any

import pytest
from sqlmodel import Session, select

from bot.conversation.types import FileRef, Rules
from bot.errors import FetchImpossible, FetchLater, ServiceUnavailable
from bot.fetching import BYTES_MAX, GIVE_UP_SECONDS, TOGETHER_MAX, Fetching
from bot.jobs import unpack_event
from bot.store import deletion, photos
from bot.store.blobs import FolderBlobs
from bot.store.database import Database
from bot.store.effects import FILES
from bot.store.models import InboxRow, JobRow, PersonRow, PhotoRow
from tests.fakes import FakePlatform, FixedClock, SilentWake


@pytest.fixture
def fetching(
    database: Database, blobs: FolderBlobs, platform: FakePlatform, wake: SilentWake, clock: FixedClock
) -> Fetching:
    return Fetching(database, blobs, {"fake": platform}, wake, Rules(), clock)  # type: ignore[arg-type]


async def send(database: Database, clock: FixedClock, *names: str, size_bytes: int = 0) -> None:
    def add(session: Session) -> None:
        if session.get(PersonRow, "fake:ann") is None:
            now = clock()
            session.add(
                PersonRow(
                    id="fake:ann", platform="fake", user_id="ann", state={}, created_at=now, seen_at=now
                )
            )
        for number, name in enumerate(names):
            session.add(
                PhotoRow(
                    id=name,
                    person_id="fake:ann",
                    number=number,
                    platform="fake",
                    status="fetching",
                    file=FILES.dump_python(FileRef(name, {"id": name}, size_bytes), mode="json"),
                    created_at=clock(),
                )
            )

    await database.run(add)


async def rows(database: Database, table: type[Any]) -> list[Any]:
    return list(await database.read(lambda session: session.exec(select(table)).all()))


async def test_a_photo_is_sealed_and_given_to_be_checked(
    database: Database,
    fetching: Fetching,
    platform: FakePlatform,
    blobs: FolderBlobs,
    wake: SilentWake,
    clock: FixedClock,
) -> None:
    platform.files["p1"] = b"a face"
    await send(database, clock, "p1")
    assert await fetching.drain() == 1
    assert await fetching.drain() == 0
    (photo,) = await rows(database, PhotoRow)
    assert photo.status == "checking"
    assert blobs.get(photo.blob) == b"a face"
    (job,) = await rows(database, JobRow)
    assert (job.id, job.state, job.payload["selfie_id"]) == ("check:p1", "queued", "p1")
    assert wake.rung == [("check", "check:p1")]


async def test_a_fault_is_tried_again_ever_later_and_given_up_after_a_day(
    database: Database, fetching: Fetching, platform: FakePlatform, clock: FixedClock
) -> None:
    platform.files["p1"] = FetchLater(2.0, "network")
    await send(database, clock, "p1")
    begun, pauses = clock(), []
    while (photo := (await rows(database, PhotoRow))[0]).status == "fetching":
        await fetching.drain()
        (photo,) = await rows(database, PhotoRow)
        pauses.append(photo.not_before - clock())
        assert await fetching.drain() == 0 or photo.status == "lost"
        clock.pass_(max(0.0, pauses[-1]))
    assert photo.status == "lost"
    assert pauses[0] == 2.0
    assert pauses[:6] == sorted(pauses[:6])
    assert clock() - begun >= GIVE_UP_SECONDS
    (told,) = await rows(database, InboxRow)
    event: Any = unpack_event(told.payload)
    assert (event.selfie_id, event.reason) == ("p1", "gone")


@pytest.mark.parametrize("reason", ["gone", "too_large"])
async def test_what_cannot_be_had_is_said_once(
    reason: str, database: Database, fetching: Fetching, platform: FakePlatform, clock: FixedClock
) -> None:
    platform.files["p1"] = FetchImpossible(reason)
    await send(database, clock, "p1")
    for _ in range(2):
        await fetching.drain()
    (told,) = await rows(database, InboxRow)
    event: Any = unpack_event(told.payload)
    assert event.reason == reason
    assert await rows(database, JobRow) == []


async def test_a_fault_of_ours_keeps_the_photo(
    database: Database, fetching: Fetching, platform: FakePlatform, clock: FixedClock
) -> None:
    platform.files["p1"] = TypeError("a bug")
    await send(database, clock, "p1")
    await fetching.drain()
    clock.pass_(60)
    platform.files["p1"] = b"here"
    await fetching.drain()
    assert (await rows(database, PhotoRow))[0].status == "checking"


async def test_a_photo_that_was_dropped_meanwhile_leaves_no_file(
    database: Database,
    fetching: Fetching,
    platform: FakePlatform,
    blobs: FolderBlobs,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platform.files["p1"] = b"a face"
    await send(database, clock, "p1")
    fetched = photos.fetched

    def dropped_just_before(session: Session, **values: Any) -> Any:
        deletion.forget(session, person_id="fake:ann")
        return fetched(session, **values)

    monkeypatch.setattr(photos, "fetched", dropped_just_before)
    await fetching.drain()
    assert list(blobs.keys(4e9)) == []
    assert await rows(database, JobRow) == []


async def test_somebody_who_came_back_does_not_get_the_old_photo(
    database: Database,
    fetching: Fetching,
    platform: FakePlatform,
    blobs: FolderBlobs,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platform.files["p1"] = b"the old face"
    await send(database, clock, "p1")
    fetch = platform.fetch

    async def slow(file: FileRef, max_bytes: int) -> bytes:
        data = await fetch(file, max_bytes)
        await database.run(lambda session: deletion.forget(session, person_id="fake:ann"))
        clock.pass_(5)
        await send(database, clock, "p1")
        return data

    monkeypatch.setattr(platform, "fetch", slow)
    await fetching.drain()
    (photo,) = await rows(database, PhotoRow)
    assert photo.status == "fetching"
    assert list(blobs.keys(4e9)) == []


async def test_killed_after_the_file_was_stored_it_is_fetched_again(
    database: Database,
    fetching: Fetching,
    platform: FakePlatform,
    blobs: FolderBlobs,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platform.files["p1"] = b"a face"
    await send(database, clock, "p1")

    def killed(*_: Any, **__: Any) -> None:
        raise ServiceUnavailable("The database", "killed")

    monkeypatch.setattr("bot.fetching.OUTAGE_SECONDS", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(photos, "fetched", killed)
        await fetching.drain()
    await fetching.drain()
    (photo,) = await rows(database, PhotoRow)
    assert blobs.get(photo.blob) == b"a face"
    assert len(await rows(database, JobRow)) == 1


async def test_no_more_than_a_few_at_once_and_all_in_the_end(
    database: Database, fetching: Fetching, platform: FakePlatform, clock: FixedClock
) -> None:
    names = [f"p{number:02}" for number in range(20)]
    platform.files.update(dict.fromkeys(names, b"x"))
    await send(database, clock, *names)
    assert await fetching.drain() == TOGETHER_MAX
    running = asyncio.create_task(fetching.run())
    for _ in range(5000):
        if len(platform.fetched) == 20 and {row.status for row in await rows(database, PhotoRow)} == {
            "checking"
        }:
            break
        await asyncio.sleep(0.01)
    assert sorted(platform.fetched) == names
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_large_ones_come_one_after_the_other(
    database: Database, fetching: Fetching, platform: FakePlatform, clock: FixedClock
) -> None:
    names = ["large1", "large2", "large3"]
    platform.files.update(dict.fromkeys(names, b"x"))
    await send(database, clock, *names, size_bytes=BYTES_MAX * 2 // 3)
    assert [await fetching.drain() for _ in range(4)] == [1, 1, 1, 0]
    assert platform.fetched == names
