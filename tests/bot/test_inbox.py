"""What arrives is kept before anybody is told, handled once and in order, and a bad row harms nobody else."""

import asyncio
from typing import Any

import pytest
from sqlmodel import Session, select

from bot import inbox as inbox_module
from bot.conversation.machine import advance
from bot.conversation.types import Rules, ShootFinished, TrainingFinished, Verdict
from bot.delivery import Delivery
from bot.errors import ServiceUnavailable
from bot.inbox import ATTEMPTS_MAX, Inbox
from bot.store import outbox, people
from bot.store.blobs import FolderBlobs
from bot.store.database import Database
from bot.store.models import (
    AdapterRow,
    ConsentRow,
    HeadshotRow,
    InboxRow,
    JobRow,
    OutboxRow,
    PersonRow,
    PhotoRow,
    ShootRow,
)
from bot.styles import Catalogue
from bot.texts import render
from tests.fakes import FakePlatform, FixedClock, SilentWake, update

RULES = Rules(min_selfies=1, wanted_selfies=2)


class Chat:
    """One inbox and what went into it."""

    def __init__(
        self,
        database: Database,
        platform: FakePlatform,
        wake: SilentWake,
        blobs: FolderBlobs,
        clock: FixedClock,
    ) -> None:
        self.database, self.platform, self.clock = database, platform, clock
        values = (database, {"fake": platform}, wake, RULES, Catalogue.load(), blobs, clock)
        self.inbox = Inbox(*values)  # type: ignore[arg-type]
        self.accept = self.inbox.accept_for("fake")
        self.count = 0

    async def happens(self, what: str, who: str = "ann", **values: Any) -> None:
        self.count += 1
        await self.accept(update(f"{self.count}", what, who=who, **values))
        await self.inbox.drain()
        self.clock.pass_(1)

    async def press(self, action: str, who: str = "ann") -> None:
        """The newest button of that action."""
        rows = sorted(await self.rows(OutboxRow), key=lambda row: row.id)
        shown = [each for row in rows if row.user_id == who for line in row.buttons for each in line]
        (*_, argument) = [each["argument"] for each in shown if each["action"] == action]
        await self.happens("choice", who, action=action, argument=argument)

    async def agree(self, who: str = "ann") -> None:
        await self.happens("start", who)
        await self.press("consent_yes", who)

    async def ready(self, who: str = "ann") -> str:
        """Up to a trained adapter; its id."""
        await self.agree(who)
        await self.happens("photo", who, files=[f"{who}1"])
        await self.judge(who)
        await self.press("train", who)
        (adapter,) = [row for row in await self.rows(AdapterRow) if row.person_id == f"fake:{who}"]
        await self.report(who, "trained", TrainingFinished(adapter.id, 10.0, "good"))
        return adapter.id

    async def judge(self, who: str) -> None:
        from bot.conversation.types import SelfieJudged, SelfiesJudged

        photos = [row for row in await self.rows(PhotoRow) if row.person_id == f"fake:{who}"]
        judged = tuple(SelfieJudged(photo.id, Verdict.ACCEPTED) for photo in photos)
        await self.report(who, "judged", SelfiesJudged(judged))

    async def report(self, who: str, key: str, event: Any) -> None:
        await self.database.run(
            lambda session: people.report(
                session, person_id=f"fake:{who}", key=f"{key}:{who}", event=event, now=self.clock()
            )
        )
        await self.inbox.drain()

    async def rows(self, table: type[Any]) -> list[Any]:
        return list(await self.database.read(lambda session: session.exec(select(table)).all()))

    async def texts(self, who: str = "ann") -> list[str]:
        rows = sorted(await self.rows(OutboxRow), key=lambda row: row.id)
        return [row.text for row in rows if row.user_id == who]

    async def state(self, who: str = "ann") -> Any:
        return await self.database.read(lambda session: people.load_state(session, person_id=f"fake:{who}"))


@pytest.fixture
def chat(
    database: Database, platform: FakePlatform, wake: SilentWake, blobs: FolderBlobs, clock: FixedClock
) -> Chat:
    return Chat(database, platform, wake, blobs, clock)


async def test_an_update_is_kept_before_accept_returns_and_once(chat: Chat) -> None:
    for _ in range(2):
        await chat.accept(update("7", "start"))
    rows = await chat.rows(InboxRow)
    assert [(row.key, row.handled_at) for row in rows] == [("fake:7", None)]
    assert await chat.inbox.drain() == 1
    assert await chat.inbox.drain() == 0
    await chat.accept(update("7", "start"))
    assert await chat.inbox.drain() == 0
    assert len(await chat.texts()) == 1


async def test_updates_that_come_together_are_kept_once_and_in_order(chat: Chat) -> None:
    await chat.accept(update("2", "start"))
    await chat.accept(*(update(key, "start") for key in ("3", "2", "1", "3")))
    rows = sorted(await chat.rows(InboxRow), key=lambda row: row.id)
    assert [row.key for row in rows] == ["fake:2", "fake:3", "fake:1"]
    assert await chat.inbox.drain() == 3


async def test_two_processes_do_not_handle_a_row_twice(
    chat: Chat, platform: FakePlatform, wake: SilentWake, blobs: FolderBlobs
) -> None:
    other = Chat(chat.database, platform, wake, blobs, chat.clock)
    await chat.accept(*(update(str(key), "text", text="hello") for key in range(10)))
    await asyncio.gather(chat.inbox.drain(), other.inbox.drain())
    assert len(await chat.texts()) == 10


async def test_an_update_waits_for_the_database(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    run, failures = chat.database.run, [1, 2]

    async def sometimes(fn: Any) -> Any:
        if failures:
            failures.pop()
            raise ServiceUnavailable("The database", "Start it")
        return await run(fn)

    monkeypatch.setattr(chat.database, "run", sometimes)
    monkeypatch.setattr(inbox_module, "OUTAGE_SECONDS", 0.01)
    await chat.accept(update("1", "start"))
    assert len(await chat.rows(InboxRow)) == 1


async def test_effects_become_rows_and_workers_are_woken(chat: Chat, wake: SilentWake) -> None:
    adapter_id = await chat.ready()
    (photo,) = await chat.rows(PhotoRow)
    assert (photo.status, photo.file["unique_id"], photo.person_id) == ("fetching", "ann1", "fake:ann")
    (job,) = await chat.rows(JobRow)
    assert (job.id, job.payload["selfie_ids"]) == (f"train:{adapter_id}", [photo.id])
    await chat.happens("command", name="headshot", argument="linkedin style")
    (shoot,) = await chat.rows(ShootRow)
    assert (shoot.adapter_id, shoot.style, shoot.status) == (adapter_id, "linkedin", "running")
    assert wake.rung == [("train", f"train:{adapter_id}"), ("shoot", f"shoot:{shoot.id}")]
    (consent,) = await chat.rows(ConsentRow)
    assert consent.version == RULES.consent_version
    assert "ann" not in consent.person_hash


async def test_headshots_become_an_item_each(chat: Chat, database: Database) -> None:
    await chat.ready()
    await chat.happens("command", name="headshot", argument="linkedin")
    (shoot,) = await chat.rows(ShootRow)

    def store(session: Session) -> None:
        for index in range(3):
            session.add(
                HeadshotRow(
                    id=f"{shoot.id}.{index}",
                    shoot_id=shoot.id,
                    person_id="fake:ann",
                    index=index,
                    blob=f"h/{index}.jpg",
                    width=1,
                    height=1,
                    seed=1,
                    created_at=0.0,
                )
            )

    await database.run(store)
    ids = tuple(f"{shoot.id}.{index}" for index in (2, 0, 1))
    await chat.report("ann", "made", ShootFinished(shoot.id, ids))
    items = [row for row in await chat.rows(OutboxRow) if row.kind == "headshot"]
    assert [row.blobs for row in items] == [["h/2.jpg"], ["h/0.jpg"], ["h/1.jpg"]]
    assert len({row.album for row in items}) == 1
    await chat.happens("choice", action="cancel", argument=shoot.id)  # too late: it is done


async def test_photos_move_the_card_and_verdicts_do_not(chat: Chat) -> None:
    await chat.agree()
    await chat.happens("photo", files=["a"])
    (card,) = [row for row in await chat.rows(OutboxRow) if row.text.startswith("Your selfies")]
    assert (card.version, card.moved_version) == (1, 0)  # it is not out yet

    def out(session: Any) -> None:
        outbox.begin(session, ids=[card.id], now=chat.clock())
        outbox.sent(session, id=card.id, version=1, message="m1", now=chat.clock())

    await chat.database.run(out)
    await chat.happens("photo", files=["b"])
    await chat.judge("ann")
    (card,) = [row for row in await chat.rows(OutboxRow) if row.text.startswith("Your selfies")]
    assert (card.version, card.moved_version, card.sent_version) == (3, 2, 1)
    assert card.not_before > card.created_at


async def test_one_persons_events_stay_in_order_among_many(chat: Chat) -> None:
    people_ = [f"p{number}" for number in range(20)]
    for turn in ("text", "text", "text"):
        for who in people_:
            chat.count += 1
            await chat.accept(update(f"{chat.count}", turn, who=who, text="hello"))
    while await chat.inbox.drain():
        pass
    assert all(row.handled_at for row in await chat.rows(InboxRow))
    items = sorted(await chat.rows(OutboxRow), key=lambda row: row.id)
    for who in people_:
        answered = [int(row.key.split(":")[1].split(".")[0]) for row in items if row.user_id == who]
        assert answered == sorted(answered)
        assert len(set(answered)) == 3


@pytest.mark.parametrize("where", ["translate", "advance"])
async def test_a_bad_row_is_set_aside_after_three_times_and_harms_nobody(
    where: str, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sometimes(state: Any, incoming: Any, now: float, **values: Any) -> Any:
        if getattr(incoming.event, "text", "") == "poison":
            raise RuntimeError("a bug")
        return advance(state, incoming, now, **values)

    monkeypatch.setattr(inbox_module, "advance", sometimes)
    await chat.agree()
    before = len(await chat.texts())
    poison = update("bad", "broken") if where == "translate" else update("bad", "text", text="poison")
    await chat.accept(poison)
    await chat.accept(update("good", "text", text="hello"))
    await chat.accept(update("other", "start", who="bob"))
    await chat.inbox.drain()
    assert len(await chat.texts("bob")) == 1  # at once
    for _ in range(ATTEMPTS_MAX):
        await chat.inbox.drain()
    (bad,) = [row for row in await chat.rows(InboxRow) if row.key == "fake:bad"]
    assert (bad.attempts, bool(bad.handled_at), bool(bad.error)) == (ATTEMPTS_MAX, True, True)
    assert await chat.inbox.drain() == 0
    after = (await chat.texts())[before:]
    apology = [render("sorry", {})] if where == "advance" else []
    assert after[: len(apology)] == apology
    assert len(after) == len(apology) + 1  # and "hello" was answered, after it


async def test_a_kill_before_the_commit_leaves_nothing_half_done(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was written in the transaction of a row is gone with it, and the next process does it once."""
    await chat.agree()
    states = await chat.state()
    count = len(await chat.rows(OutboxRow))

    def killed(*_: Any, **__: Any) -> None:
        raise ServiceUnavailable("The database", "killed")

    await chat.accept(update("photo", "photo", files=["a", "b"]))
    with monkeypatch.context() as patch:
        patch.setattr(inbox_module.effects, "_say", killed)  # the photo rows are written by then
        with pytest.raises(ServiceUnavailable):
            await chat.inbox.drain()
    assert await chat.rows(PhotoRow) == []
    assert await chat.state() == states
    assert len(await chat.rows(OutboxRow)) == count
    await chat.inbox.drain()
    assert len(await chat.rows(PhotoRow)) == 2
    assert len((await chat.state()).selfies) == 2


async def test_what_nobody_needs_to_know_is_emptied(chat: Chat) -> None:
    await chat.happens("nothing", text="what two people said to each other")
    (row,) = await chat.rows(InboxRow)
    assert row.handled_at
    assert row.payload == {}
    assert await chat.rows(PersonRow) == []


async def test_writing_again_brings_what_was_kept(chat: Chat, database: Database) -> None:
    await chat.agree()

    def park(session: Session) -> None:
        for row in session.exec(select(OutboxRow)).all():
            row.state = "parked"
            session.add(row)

    await database.run(park)
    await chat.happens("text", who="bob", text="hello")
    assert {row.state for row in await chat.rows(OutboxRow) if row.user_id == "ann"} == {"parked"}
    await chat.happens("text", text="hello")
    assert {row.state for row in await chat.rows(OutboxRow)} == {"pending"}


async def test_forgetting_leaves_the_receipt_and_the_audit_log_alone(
    chat: Chat, blobs: FolderBlobs, database: Database, platform: FakePlatform, clock: FixedClock
) -> None:
    await chat.ready()
    await chat.agree("bob")
    folder = await database.run(lambda session: people.folder(session, person_id="fake:ann"))
    blobs.put(f"{folder}photos/1", b"a face")
    await chat.happens("command", name="headshot", argument="linkedin")
    await chat.happens("command", name="deleteme")
    await chat.happens("choice", action="forget_yes")
    for table in (PersonRow, PhotoRow, AdapterRow, ShootRow, HeadshotRow, JobRow):
        left = [row.person_id if table is not PersonRow else row.id for row in await chat.rows(table)]
        assert "fake:ann" not in left, table
    rows = [
        row for row in await chat.rows(InboxRow) if row.person_id == "fake:ann" or "ann" in str(row.payload)
    ]
    assert rows == []
    receipts = [row for row in await chat.rows(OutboxRow) if row.user_id == "ann"]
    assert len(receipts) == 1
    assert receipts[0].state == "pending"
    assert not blobs.exists(f"{folder}photos/1")
    assert [row.version for row in sorted(await chat.rows(ConsentRow), key=lambda row: row.id)][-1] is None
    assert await chat.state("bob") is not None

    await Delivery(database, blobs, {"fake": platform}, clock).drain()
    await chat.report("ann", "late", TrainingFinished("gone"))  # a worker that was at it
    assert await chat.state() is None
    await chat.agree()  # and back again, as a stranger
    assert (await chat.state()).selfies == ()
    again = await database.run(lambda session: people.folder(session, person_id="fake:ann"))
    assert again != folder


async def test_the_loop_handles_what_comes(chat: Chat) -> None:
    running = asyncio.create_task(chat.inbox.run())
    await chat.accept(update("1", "start"))
    answers: list[str] = []

    async def look() -> None:
        answers[:] = await chat.texts()

    for _ in range(2000):
        await look()
        if answers:
            break
        await asyncio.sleep(0.02)
    assert len(answers) == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
