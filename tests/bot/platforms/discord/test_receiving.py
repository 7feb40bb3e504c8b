"""Stored first, answered in time."""

import asyncio
import contextlib
import itertools

import pytest

from bot.conversation.types import Choice, Command, OtherSent, PhotosSent, Text
from bot.platforms.base import RawUpdate
from bot.texts import render
from tests.bot.platforms.discord.kit import (
    COMMANDS,
    Inbox,
    Stage,
    answer,
    buttons,
    make_platform,
    picture,
    receiving,
    stage,
)
from tests.servers.discord_people import DiscordPeople
from tests.servers.discord_server import running_server


class Storage(Inbox):
    """An inbox that is slow or fails, and notes how things stood when it was done."""

    seconds, failure = 0.0, None

    def pause(self) -> float:
        return self.seconds

    answered_before: bool | None = None
    server: object = None

    async def accept(self, update: RawUpdate) -> None:
        await asyncio.sleep(self.pause())
        made = self.server.world.interactions.get(update.key.partition(":")[2])  # type: ignore[attr-defined]
        self.answered_before = bool(made and made.answer)
        if self.failure:
            raise self.failure
        await super().accept(update)


@contextlib.asynccontextmanager
async def with_storage(**fields: object):
    async with running_server() as server, DiscordPeople(server.url) as people:
        ada, channel = await people.person("Ada"), await people.channel()
        platform = make_platform(server.api_url)
        storage = Storage(platform)
        storage.server = server
        for name, value in fields.items():
            setattr(storage, name, value)
        async with receiving(platform, storage) as task:
            await people.connected()
            yield Stage(server, platform, people, ada, channel, storage), task


async def test_it_is_stored_before_discord_hears_that_it_arrived() -> None:
    async with with_storage() as (here, _):
        done = await here.ada.command("status", channel=here.channel)
        assert done.answer == 5
        assert here.inbox.answered_before is False  # type: ignore[attr-defined]


async def test_a_slow_commit_does_not_miss_the_deadline() -> None:
    async with with_storage(seconds=2.0) as (here, _):
        done = await here.ada.command("status", channel=here.channel)
        assert (done.answer, done.failed) == (5, False)
        assert here.inbox.incoming == []
        assert (await here.last()).event == Command("status")


async def test_a_failed_commit_is_no_secret() -> None:
    async with with_storage(failure=RuntimeError("disk full")) as (here, task):
        await here.people.call(
            "command", user=here.ada.id, channel=here.channel, name="status", options={}, files={}
        )
        with pytest.raises(RuntimeError, match="disk full"):
            await task
        message = await here.ada.wait_for(render("sorry", {}), here.channel)
        assert message.whisper


async def test_too_late_is_not_lost() -> None:
    async with with_storage() as (here, _):
        await here.people.fault("POST /interactions/*", status=404, code=10062)
        made = await here.people.call(
            "command", user=here.ada.id, channel=here.channel, name="status", options={}, files={}
        )
        incoming = await here.last()
        await here.platform.send([answer(incoming, "Still here")])
        assert [each.text for each in await here.ada.messages()] == ["Still here"]
        assert made


async def test_people_are_stored_in_the_order_in_which_they_came() -> None:
    async with with_storage() as (here, _):
        delays = itertools.cycle((0.02, 0.0))
        here.inbox.pause = lambda: next(delays)  # type: ignore[attr-defined]
        await asyncio.gather(*(here.ada.write(f"{number}") for number in range(20)))
        written = [each["content"] for each in here.server.world.messages[here.ada.dm]]
        found = [each.event for each in await here.inbox.wait(20)]
        assert found == [Text(text) for text in written]


async def test_the_same_event_again_has_the_same_key() -> None:
    async with stage() as here:
        await here.ada.write("hello")
        await here.last()
        message = here.server.world.messages[here.ada.dm][0]
        await here.server.gateway.dispatch("MESSAGE_CREATE", message)
        await here.ada.write("again")
        assert [each.event for each in await here.inbox.wait(2)] == [Text("hello"), Text("again")]


@pytest.mark.parametrize("private", [True, False])
async def test_the_form_opens_at_once_and_its_photos_arrive(private: bool) -> None:
    async with stage() as here:
        place = "" if private else here.channel
        await here.ada.command("selfies", channel=place)
        first = await here.last()
        row = buttons("x")[0][0]
        upload = ((type(row)("Send selfies", "upload"),),)
        await here.platform.send([answer(first, "Selfies?", buttons=upload)])
        form = await here.ada.press("Send selfies", channel=place)
        assert form.form
        assert len(here.inbox.incoming) == 1
        await here.ada.upload(form, [picture(n) for n in range(17)])
        found = await here.last(2)
        assert isinstance(found.event, PhotosSent)
        assert len(found.event.photos) == 17
        assert (found.place.private, found.can_whisper) == (private, not private)


async def test_ten_photos_by_command() -> None:
    async with stage() as here:
        await here.ada.command("selfies", photos=[picture(n) for n in range(10)], channel=here.channel)
        found = (await here.last()).event
        assert isinstance(found, PhotosSent)
        assert [await here.platform.fetch(each, 10**6) for each in found.photos] == [
            picture(n) for n in range(10)
        ]


async def test_photos_in_a_message_are_never_taken() -> None:
    async with stage() as here:
        await here.ada.write("here I am", photos=[picture(1)])
        assert (await here.last()).event == OtherSent("discord_message_photo")
        assert "http" not in str([update.payload for update in here.inbox.raw.values()])


async def test_a_button_from_before_a_restart_still_works() -> None:
    async with running_server() as server, DiscordPeople(server.url) as people:
        ada, channel = await people.person("Ada"), await people.channel()
        before = make_platform(server.api_url)
        inbox = Inbox(before)
        async with receiving(before, inbox):
            await people.connected()
            await ada.command("status", channel=channel)
            incoming = (await inbox.wait(1))[0]
            await before.send([answer(incoming, "Choose", buttons=buttons("Where do I stand?"))])
        after = make_platform(server.api_url)
        inbox = Inbox(after)
        async with receiving(after, inbox):
            await people.connected()
            pressed = await ada.press("Where do I stand?", channel=channel)
            assert pressed.answer == 6
            assert (await inbox.wait(1))[0].event == Choice("status")


async def test_a_command_that_is_not_ours_any_more_is_handed_on() -> None:
    async with stage() as here:
        old = {"id": "1", "name": "oldcommand", "description": "x", "type": 1, "options": []}
        here.server.world.commands[""].append(old)
        done = await here.ada.command("oldcommand")
        assert done.answer == 5
        assert (await here.last()).event == Command("oldcommand")


async def test_every_command_of_ours_arrives() -> None:
    async with stage() as here:
        for info in COMMANDS:
            done = await here.ada.command(info.name)
            assert done.answer == 5
        assert len(await here.inbox.wait(len(COMMANDS))) == len(COMMANDS)
