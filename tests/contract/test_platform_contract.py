"""What the rest of the application relies on, held against every platform through its peer."""

import dataclasses
import io
import json
from collections.abc import AsyncIterator

import pytest
from PIL import Image

from bot.conversation.types import Button, Choice, Command, Incoming, OtherSent, PhotosSent, Started, Text
from bot.errors import FetchImpossible, SendLater, SendRefused
from bot.platforms.base import Attachment
from tests.contract.platform_peers import Peer, peers

RIGHT_TO_LEFT = "שלום 👩🏽‍🎤 مرحبا — 家族"


@pytest.fixture(params=sorted(peers()))
async def peer(request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    async with peers()[request.param]() as peer:
        yield peer


def need(peer: Peer, ability: str) -> None:
    if ability not in peer.can:
        pytest.skip(f"{peer.platform.name} has no {ability}, or its peer cannot play it")


def jpeg(number: int) -> bytes:
    """A small JPEG, different for each number."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (number * 40 % 256, number * 7 % 256, 90)).save(buffer, "JPEG")
    return buffer.getvalue()


def words(text: str) -> list[str]:
    return text.split()


async def incoming(peer: Peer, kind: type) -> Incoming:
    return await peer.wait_for(lambda found: isinstance(found.event, kind))


# ---------------------------------------------------------------- what comes in


async def test_it_says_which_platform_it_is_wherever_that_matters(peer: Peer) -> None:
    await peer.command("start")
    started = await incoming(peer, Started)
    name = peer.platform.name
    assert (started.person.platform, started.place.platform) == (name, name)
    assert started.person.user_id
    assert started.place.chat_id
    assert started.person.name
    assert started.place.private


async def test_a_command_comes_with_its_argument(peer: Peer) -> None:
    await peer.command("headshot", "linkedin style")
    found = await incoming(peer, Command)
    assert found.event == Command("headshot", "linkedin style")


async def test_words_come_as_they_were_written(peer: Peer) -> None:
    need(peer, "text")
    await peer.text(RIGHT_TO_LEFT)
    assert (await incoming(peer, Text)).event == Text(RIGHT_TO_LEFT)


async def test_a_stored_update_reads_the_same_after_json_and_again(peer: Peer) -> None:
    await peer.command("headshot", "studio")
    await incoming(peer, Command)
    for raw in peer.raw:
        stored = json.loads(json.dumps(raw.payload))
        assert peer.platform.translate(stored) == peer.platform.translate(raw.payload)


async def test_each_update_has_a_key_of_its_own(peer: Peer) -> None:
    await peer.command("headshot", "studio")
    await peer.command("status")
    await peer.wait_for(lambda found: found.event == Command("status"))
    keys = [raw.key for raw in peer.raw]
    assert len(set(keys)) == len(keys)
    assert all(key.startswith(f"{peer.platform.name}:") for key in keys)


async def test_every_photo_arrives_with_exactly_its_bytes(peer: Peer) -> None:
    need(peer, "photos")
    sent = [jpeg(number) for number in range(1, 6)]
    await peer.photos(sent)

    def all_there(_: Incoming) -> bool:
        return len(_files(peer)) == len(sent)

    await peer.wait_for(all_there)
    files = _files(peer)
    assert len({file.unique_id for file in files}) == len(sent)
    assert sorted([await peer.platform.fetch(file, 10**6) for file in files]) == sorted(sent)


def _files(peer: Peer) -> list:
    found = (peer.platform.translate(raw.payload) for raw in peer.raw)
    events = [one.event for one in found if one]
    return [file for event in events if isinstance(event, PhotosSent) for file in event.photos]


async def test_a_file_above_the_limit_is_not_fetched(peer: Peer) -> None:
    need(peer, "photos")
    await peer.photos([jpeg(1)])
    file = (await incoming(peer, PhotosSent)).event.photos[0]
    with pytest.raises(FetchImpossible, match="too_large"):
        await peer.platform.fetch(file, 100)
    untold = dataclasses.replace(file, size_bytes=0)
    with pytest.raises(FetchImpossible, match="too_large"):
        await peer.platform.fetch(untold, 100)


async def test_what_is_no_photo_is_named(peer: Peer) -> None:
    need(peer, "pdf")
    await peer.pdf()
    assert (await incoming(peer, OtherSent)).event == OtherSent("pdf")


# ---------------------------------------------------------------- what goes out


async def test_a_message_is_seen_as_it_was_meant(peer: Peer) -> None:
    text = f"{RIGHT_TO_LEFT} *not bold* _nor this_ <b>nor that</b>"
    receipts = await peer.platform.send([peer.item(text)])
    assert [one.text for one in await peer.seen()] == [text]
    assert len(receipts) == 1
    assert bool(receipts[0].message) == peer.platform.capabilities.can_edit


async def test_a_card_is_edited_in_place_and_twice_the_same_is_no_error(peer: Peer) -> None:
    if not peer.platform.capabilities.can_edit:
        pytest.skip("cannot edit")
    receipt = (await peer.platform.send([peer.item("10 %")]))[0]
    for _ in range(2):
        receipt = (await peer.platform.send([peer.item("20 %", edit=receipt.message)]))[0]
    assert [one.text for one in await peer.seen()] == ["20 %"]


async def test_a_card_whose_message_is_gone_is_sent_anew(peer: Peer) -> None:
    if not peer.platform.capabilities.can_edit:
        pytest.skip("cannot edit")
    receipt = (await peer.platform.send([peer.item("10 %")]))[0]
    gone = receipt.message[:-1] + ("1" if receipt.message[-1] != "1" else "2")
    new = (await peer.platform.send([peer.item("20 %", edit=gone)]))[0]
    assert new.message not in ("", gone)
    await peer.platform.send([peer.item("30 %", edit=new.message)])
    assert [one.text for one in await peer.seen()] == ["10 %", "30 %"]


async def test_a_button_brings_back_what_it_was_made_with(peer: Peer) -> None:
    need(peer, "press")
    argument = "x" * (48 - len("again"))
    rows = ((Button("Again 🔁", "again", argument), Button("Stop", "cancel", "1")), (Button("Show", "show"),))
    await peer.platform.send([peer.item("Choose", buttons=rows)])
    assert (await peer.seen())[-1].labels == ("Again 🔁", "Stop", "Show")
    await peer.press("Again 🔁")
    assert (await incoming(peer, Choice)).event == Choice("again", argument)


async def test_a_text_above_the_limit_arrives_whole(peer: Peer) -> None:
    text = "\n".join(f"{number} {'word ' * 30}" for number in range(60))
    assert len(text) > min(peer.platform.capabilities.text_max, 8000)
    await peer.platform.send([peer.item(text, buttons=((Button("Ok", "status"),),))])
    seen = await peer.seen()
    assert words(" ".join(one.text for one in seen)) == words(text)
    assert seen[-1].labels == ("Ok",)


async def test_a_file_arrives_with_exactly_its_bytes(peer: Peer) -> None:
    data = jpeg(3)
    await peer.platform.send([peer.item("Yours", attachments=(Attachment("one.jpg", data, as_file=True),))])
    seen = await peer.seen()
    assert [picture for one in seen for picture in one.pictures] == [data]
    assert words(" ".join(one.text for one in seen)) == ["Yours"]


async def test_an_album_brings_every_picture_once_in_order(peer: Peer) -> None:
    number = peer.platform.capabilities.album_max
    if number < 2:
        pytest.skip("no albums")
    pictures = [jpeg(one) for one in range(number)]
    items = [
        peer.item("Here" if n == 0 else "", attachments=(Attachment(f"{n}.jpg", data, as_file=True),))
        for n, data in enumerate(pictures)
    ]
    receipts = await peer.platform.send(items)
    assert len(receipts) == number
    seen = await peer.seen()
    assert [picture for one in seen for picture in one.pictures] == pictures
    assert words(" ".join(one.text for one in seen)) == ["Here"]


async def test_throttling_is_told_with_its_time_and_the_item_goes_out_later(peer: Peer) -> None:
    need(peer, "throttle")
    await peer.throttle(7)
    with pytest.raises(SendLater) as refused:
        await peer.platform.send([peer.item("Hello")])
    assert 7 <= refused.value.after_seconds < 60
    assert await peer.seen() == []
    await peer.platform.send([peer.item("Hello")])
    assert [one.text for one in await peer.seen()] == ["Hello"]


async def test_somebody_who_blocked_the_bot_is_out_of_reach(peer: Peer) -> None:
    need(peer, "block")
    await peer.block()
    with pytest.raises(SendRefused):
        await peer.platform.send([peer.item("Hello")])


async def test_an_outage_is_no_loss(peer: Peer) -> None:
    need(peer, "outage")
    await peer.outage()
    with pytest.raises(SendLater):
        await peer.platform.send([peer.item("Hello")])
    await peer.platform.send([peer.item("Hello")])
    assert "Hello" in [one.text for one in await peer.seen()]


async def test_closing_twice_is_safe(peer: Peer) -> None:
    await peer.platform.close()
    await peer.platform.close()
