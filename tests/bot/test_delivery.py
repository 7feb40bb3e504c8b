"""Every promised item goes out once, in the order of its chat, and nobody holds up anybody else."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlmodel import select, update

from bot.conversation.types import Button, Place
from bot.delivery import CARD_FRESH_SECONDS, FAULTS_MAX, Delivery
from bot.errors import SendImpossible, SendLater, SendRefused
from bot.store import outbox
from bot.store.blobs import FolderBlobs
from bot.store.database import Database
from bot.store.models import OutboxRow
from tests.fakes import FakePlatform, FixedClock, place, until

Put = Callable[..., Any]


@pytest.fixture
def delivery(database: Database, blobs: FolderBlobs, platform: FakePlatform, clock: FixedClock) -> Delivery:
    return Delivery(database, blobs, {"fake": platform}, clock)


@pytest.fixture
def put(database: Database, clock: FixedClock, blobs: FolderBlobs) -> Put:
    """Promise an item."""
    count = iter(range(1000))

    async def put(text: str, who: str = "ann", to: Place | None = None, **values: Any) -> None:
        chat, below_after = to or place(who), values.pop("below_after", None)
        row = OutboxRow(
            key=values.pop("key", "") or f"k{next(count)}",
            platform="fake",
            person_id=f"fake:{who}",
            user_id=who,
            place=outbox.PLACES.dump_python(chat, mode="json"),
            kind=values.pop("kind", "message"),
            text=text,
            created_at=clock(),
            **values,
        )
        for blob in row.blobs:
            blobs.put(blob, f"bytes of {blob}".encode())
        if row.kind == "card":
            await database.run(lambda session: outbox.show_card(session, row, below_after))
        else:
            await database.run(lambda session: outbox.promise(session, row))

    return put


async def test_whispers_in_one_channel_are_a_line_for_each_person(
    delivery: Delivery, put: Put, platform: FakePlatform
) -> None:
    channel = place(chat="channel")
    gate = platform.hold["channel"] = asyncio.Event()
    for who in ("ann", "ann", "bob"):
        await put(f"for {who}", who, channel, whisper=True)
    running = asyncio.create_task(delivery.drain())
    await until(lambda: len(platform.attempts) == 2, running)
    assert sorted(items[0].user_id for items in platform.attempts) == ["ann", "bob"]
    gate.set()
    assert await running == 2
    assert await delivery.drain() == 1


async def rows(database: Database) -> list[OutboxRow]:
    return list(
        await database.read(lambda session: session.exec(select(OutboxRow).order_by(OutboxRow.id)).all())
    )


async def states(database: Database) -> list[str]:
    return [row.state for row in await rows(database)]


async def settle(delivery: Delivery) -> int:
    """Rounds until nothing goes out any more; how many items went out."""
    rounds = [await delivery.drain()]
    while any(rounds[-2:]) or len(rounds) < 3:
        rounds.append(await delivery.drain())
    return sum(rounds)


async def test_an_item_goes_out_once_as_it_was_promised(
    database: Database, delivery: Delivery, platform: FakePlatform, put: Put
) -> None:
    buttons = outbox.BUTTONS.dump_python(((Button("Yes", "consent_yes"),),), mode="json")
    await put(
        "Hello", buttons=buttons, blobs=["a/b.jpg"], names=["b.jpg"], reply={"token": "t"}, whisper=True
    )
    assert await settle(delivery) == 1
    assert await settle(delivery) == 0
    ((item,),) = platform.sent
    assert (item.text, item.user_id, item.place, item.whisper) == ("Hello", "ann", place(), True)
    assert item.buttons == ((Button("Yes", "consent_yes"),),)
    assert item.attachments[0].data == b"bytes of a/b.jpg"
    assert item.reply == {"token": "t"}
    assert len(item.nonce) <= 25
    (row,) = await rows(database)
    assert (row.state, row.message, row.sent_version) == ("sent", "m1.0", 1)
    assert row.attempted_at is not None


async def test_one_chat_keeps_its_order_and_waits_for_nobody(
    delivery: Delivery, platform: FakePlatform, put: Put
) -> None:
    gate = platform.hold["ann"] = asyncio.Event()
    for number in range(3):
        await put(f"a{number}")
        await put(f"b{number}", who="bob")
    running = asyncio.create_task(delivery.run())
    await until(lambda: len(platform.texts) == 3, running)
    assert platform.texts == ["b0", "b1", "b2"]
    gate.set()
    await until(lambda: len(platform.texts) == 6, running)
    assert platform.texts[3:] == ["a0", "a1", "a2"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_throttled_is_sent_later_and_stays_so_after_a_restart(
    database: Database, blobs: FolderBlobs, platform: FakePlatform, clock: FixedClock, put: Put
) -> None:
    platform.failures = [SendLater(30, "throttled")]
    await put("first")
    await put("second")
    await put("for bob", who="bob")
    assert await Delivery(database, blobs, {"fake": platform}, clock).drain() == 1
    again = Delivery(database, blobs, {"fake": platform}, clock)
    clock.pass_(29)
    assert await settle(again) == 0
    clock.pass_(2)
    assert await settle(again) == 2
    assert platform.texts == ["for bob", "first", "second"]


async def test_faults_of_the_network_wait_longer_and_longer_but_never_give_up(
    database: Database, delivery: Delivery, platform: FakePlatform, clock: FixedClock, put: Put
) -> None:
    platform.failures = [SendLater(1, "network") for _ in range(12)]
    await put("at last")
    pauses = []
    while not platform.texts:
        await delivery.drain()
        (row,) = await rows(database)
        if row.state == "pending":
            pauses.append(row.not_before - clock())
            clock.pass_(pauses[-1] + 0.01)
    assert pauses == sorted(pauses)
    assert pauses[0] == pytest.approx(1)
    assert 30 <= pauses[-1] <= 60
    assert await states(database) == ["sent"]


async def test_who_blocked_the_bot_is_left_alone_until_they_write(
    database: Database, delivery: Delivery, platform: FakePlatform, put: Put
) -> None:
    platform.failures = [SendRefused("blocked")]
    for text in ("one", "two"):
        await put(text)
    await put("in the group", to=place(chat="g1"))
    assert await settle(delivery) == 1
    assert await states(database) == ["parked", "parked", "sent"]
    assert len(platform.attempts) == 2
    assert await database.run(lambda session: outbox.unpark(session, person_id="fake:ann")) == 2
    await put("three")
    await settle(delivery)
    assert platform.texts == ["in the group", "one", "two", "three"]


async def headshots(put: Put, count: int, album: str = "s1", **values: Any) -> None:
    for number in range(count):
        await put(
            "", kind="headshot", album=album, blobs=[f"h/{album}{number}"], names=[f"{number}.jpg"], **values
        )


async def test_headshots_go_as_albums_up_to_what_the_platform_takes(
    delivery: Delivery, platform: FakePlatform, put: Put
) -> None:
    platform.limited(album_max=4)
    await headshots(put, 6)
    await headshots(put, 2, album="s2")
    await headshots(put, 1, album="s2", as_file=True)
    await put("What next?")
    await settle(delivery)
    assert [len(items) for items in platform.sent] == [4, 2, 2, 1, 1]
    assert platform.texts[-1] == "What next?"


async def test_without_albums_they_go_one_by_one(
    delivery: Delivery, platform: FakePlatform, put: Put
) -> None:
    platform.limited(album_max=1)
    await headshots(put, 3)
    await settle(delivery)
    assert [len(items) for items in platform.sent] == [1, 1, 1]


async def test_a_spoiled_album_goes_one_by_one_and_only_the_bad_picture_is_given_up(
    database: Database, delivery: Delivery, platform: FakePlatform, put: Put
) -> None:
    platform.failures = [SendImpossible("one is too large"), None, SendImpossible("too large"), None]
    await headshots(put, 3)
    await put("What next?")
    await settle(delivery)
    assert [len(items) for items in platform.attempts] == [3, 1, 1, 1, 1]
    assert await states(database) == ["sent", "dead", "sent", "sent"]


async def test_a_crash_after_half_of_the_singles_resumes_at_the_item(
    database: Database, blobs: FolderBlobs, platform: FakePlatform, clock: FixedClock, put: Put
) -> None:
    platform.limited(album_max=1)
    await headshots(put, 3)
    first = Delivery(database, blobs, {"fake": platform}, clock)
    assert await first.drain() == 1
    await settle(Delivery(database, blobs, {"fake": platform}, clock))
    assert [items[0].attachments[0].name for items in platform.sent] == ["0.jpg", "1.jpg", "2.jpg"]


async def test_a_crash_between_acceptance_and_commit_repeats_that_item_with_the_same_nonce(
    database: Database, blobs: FolderBlobs, platform: FakePlatform, clock: FixedClock, put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    await put("twice")
    await put("once")

    async def killed(*_: Any) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(Delivery, "_sent", killed)
        with pytest.raises(asyncio.CancelledError):
            await Delivery(database, blobs, {"fake": platform}, clock).drain()
    await settle(Delivery(database, blobs, {"fake": platform}, clock))
    assert platform.texts == ["twice", "twice", "once"]
    assert platform.sent[0][0].nonce == platform.sent[1][0].nonce
    assert platform.sent[0][0].nonce != platform.sent[2][0].nonce


async def test_a_card_is_one_message_and_only_its_newest_content_counts(
    database: Database, delivery: Delivery, platform: FakePlatform, clock: FixedClock, put: Put
) -> None:
    platform.limited(edit_interval_seconds=3.0)
    for text in ("1 of 15", "2 of 15"):
        await put(text, kind="card", key="card")
    await settle(delivery)
    assert platform.texts == ["2 of 15"]
    for number in range(3, 6):
        await put(f"{number} of 15", kind="card", key="card")
        assert await settle(delivery) == 0  # the interval between edits
    await put("a message passes it")
    assert await settle(delivery) == 1
    clock.pass_(3.1)
    await settle(delivery)
    assert platform.texts == ["2 of 15", "a message passes it", "5 of 15"]
    assert platform.sent[-1][0].edit == "m1.0"
    await put("5 of 15", kind="card", key="card")
    clock.pass_(10)
    assert await settle(delivery) == 0  # nothing new


async def test_news_for_a_card_that_is_being_sent_follow_it(
    database: Database, delivery: Delivery, platform: FakePlatform, put: Put
) -> None:
    gate = platform.hold["ann"] = asyncio.Event()
    await put("old", kind="card", key="card")
    sending = asyncio.create_task(delivery.drain())
    await until(lambda: platform.attempts, sending)
    await put("new", kind="card", key="card")
    gate.set()
    await sending
    await settle(delivery)
    assert [(item.text, item.edit) for (item,) in platform.sent] == [("old", None), ("new", "m1.0")]


async def test_a_card_whose_message_is_gone_or_far_up_is_sent_anew(
    database: Database, delivery: Delivery, platform: FakePlatform, clock: FixedClock, put: Put
) -> None:
    await put("one", kind="card", key="card")
    await settle(delivery)
    platform.failures = [SendImpossible("message to edit not found")]
    await put("two", kind="card", key="card")
    await delivery.drain()
    await settle(delivery)
    clock.pass_(CARD_FRESH_SECONDS + 1)
    await put("three", kind="card", key="card")
    await settle(delivery)
    edits = [(item.text, item.edit, item.replaces) for (item,) in platform.sent]
    assert edits == [("one", None, ""), ("two", None, ""), ("three", None, "m2.0")]


Move = Callable[..., Any]


@pytest.fixture
def move(put: Put) -> Move:
    """Promise a card that goes below what was said, after two seconds without another move."""

    async def move(text: str, **values: Any) -> None:
        await put(text, kind="card", key="card", below_after=2.0, **values)

    return move


async def test_photos_in_a_row_move_their_card_once(
    delivery: Delivery, platform: FakePlatform, clock: FixedClock, put: Put, move: Move
) -> None:
    await move("1 photo")
    assert await settle(delivery) == 1  # the first one is answered at once
    for number in range(2, 16):
        clock.pass_(1.0)
        await move(f"{number} photos")
        assert await settle(delivery) == 0
    await put("15 photos, 1 is good", kind="card", key="card")
    clock.pass_(1.9)
    assert await settle(delivery) == 0  # news do not hasten it
    clock.pass_(0.2)
    assert await settle(delivery) == 1
    await put("15 photos, 2 are good", kind="card", key="card")
    await settle(delivery)
    told = [(item.text, item.edit, item.replaces) for (item,) in platform.sent]
    assert told == [
        ("1 photo", None, ""),
        ("15 photos, 1 is good", None, "m1.0"),
        ("15 photos, 2 are good", "m2.0", ""),
    ]


async def test_a_card_that_is_asked_for_comes_down_at_once_as_it_is(
    delivery: Delivery, platform: FakePlatform, put: Put, move: Move
) -> None:
    platform.limited(edit_interval_seconds=3.0)  # a new message is no edit
    await move("1 photo")
    await settle(delivery)
    await put("1 photo", kind="card", key="card", below_after=0.0)
    await move("1 photo", reply={"token": "t"})  # a form's answer is awaited
    assert await settle(delivery) == 1
    assert [(item.edit, item.replaces) for (item,) in platform.sent] == [(None, ""), (None, "m1.0")]


async def test_a_card_that_is_being_sent_moves_after_it(
    delivery: Delivery, platform: FakePlatform, clock: FixedClock, move: Move
) -> None:
    gate = platform.hold["ann"] = asyncio.Event()
    await move("1 photo")
    sending = asyncio.create_task(delivery.drain())
    await until(lambda: platform.attempts, sending)
    await move("2 photos")
    gate.set()
    await sending
    clock.pass_(2.1)
    await settle(delivery)
    assert [(item.text, item.edit, item.replaces) for (item,) in platform.sent] == [
        ("1 photo", None, ""),
        ("2 photos", None, "m1.0"),
    ]


async def test_a_missing_picture_is_given_up_and_the_rest_goes_on(
    database: Database, delivery: Delivery, platform: FakePlatform, blobs: FolderBlobs, put: Put
) -> None:
    await put("", kind="headshot", blobs=["h/1"], names=["1.jpg"])
    await put("after it")
    blobs.delete("h/1")
    await delivery.drain()
    await settle(delivery)
    assert await states(database) == ["dead", "sent"]


async def test_a_fault_in_the_platform_is_tried_a_few_times(
    database: Database, delivery: Delivery, platform: FakePlatform, clock: FixedClock, put: Put
) -> None:
    platform.failures = [TypeError("a bug") for _ in range(FAULTS_MAX)]
    await put("unlucky")
    await put("next")
    for _ in range(FAULTS_MAX):
        await delivery.drain()
        clock.pass_(61)
    await settle(delivery)
    assert await states(database) == ["dead", "sent"]
    assert platform.texts == ["next"]


async def test_what_was_taken_back_does_not_go_out(
    database: Database, delivery: Delivery, platform: FakePlatform, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    await headshots(put, 2, album="shoot1/x")
    await put("kept")
    seen = outbox.waiting

    def waiting(session: Any, **values: Any) -> Any:
        found = seen(session, **values)
        monkeypatch.setattr(outbox, "waiting", seen)
        return found

    monkeypatch.setattr(outbox, "waiting", waiting)
    begin = outbox.begin

    def withdrawn_just_before(session: Any, **values: Any) -> bool:
        outbox.withdraw_album(session, person_id="fake:ann", prefix="shoot1/")
        monkeypatch.setattr(outbox, "begin", begin)
        return begin(session, **values)

    monkeypatch.setattr(outbox, "begin", withdrawn_just_before)
    assert await delivery.drain() == 0
    await settle(delivery)
    assert platform.texts == ["kept"]
    assert await states(database) == ["withdrawn", "withdrawn", "sent"]


async def test_the_platforms_limits_are_kept(
    database: Database,
    delivery: Delivery,
    platform: FakePlatform,
    clock: FixedClock,
    blobs: FolderBlobs,
    put: Put,
) -> None:
    platform.limited(chat_interval_seconds=1.0, total_per_second=5.0)
    delivery = Delivery(database, blobs, {"fake": platform}, clock)
    for number in range(6):
        await put(f"a{number}")
    for number in range(10):
        await put("hello", who=f"p{number}")
    sent = []
    for _ in range(12):
        sent.append(await settle(delivery))
        clock.pass_(1.0)
    assert sum(sent) == 16
    assert sent[0] == 5  # altogether
    assert max(sent[1:]) <= 6
    assert platform.texts.count("hello") == 10


async def test_what_piles_up_for_one_platform_hides_nothing_of_another(
    database: Database, blobs: FolderBlobs, platform: FakePlatform, clock: FixedClock, put: Put
) -> None:
    away = FakePlatform("away", failures=[SendLater(3600, "not connected") for _ in range(9)])
    delivery = Delivery(database, blobs, {"away": away, "fake": platform}, clock)
    for number in range(9):
        await put("waits", who=f"w{number}")
    await database.run(lambda session: session.exec(update(OutboxRow).values(platform="away")))
    await put("hello")
    await delivery.drain(limit=4)
    await delivery.drain(limit=4)
    assert platform.texts == ["hello"]
