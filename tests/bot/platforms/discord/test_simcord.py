"""The platform on a model of Discord that others wrote: https://github.com/SilentHacks/simcord.

It runs discord.py's real machinery over a fake of the API and the gateway, with a clock of its own. It takes
eleven files and files of any size, and ignores nonces; those limits stand in `tests.servers.discord_rules`.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.config import DiscordSettings
from bot.conversation.types import Button, Choice, Command, Incoming, OtherSent, PhotosSent, Place, Text
from bot.errors import SendImpossible, SendRefused
from bot.platforms.discord import DiscordPlatform
from bot.styles import Catalogue
from tests.bot.platforms.discord.kit import COMMANDS, Inbox, answer, buttons, files, outgoing, picture
from tests.servers.discord_people import _ESCAPED

DEAD_SECONDS = 16 * 60
UPLOAD = ((Button("Send selfies", "upload"),),)


def make() -> DiscordPlatform:
    return DiscordPlatform("token", DiscordSettings(), COMMANDS, Catalogue.load(), shard_count=1)


@pytest.fixture
async def platform() -> AsyncIterator[DiscordPlatform]:
    made = make()
    yield made
    await made.close()


@pytest.fixture
def simcord_bot(platform: DiscordPlatform) -> Any:
    return platform.client


class Play:
    """A server with Ada and Grace, and what came in."""

    def __init__(self, env: Any, platform: DiscordPlatform) -> None:
        self.env, self.platform, self.inbox = env, platform, Inbox(platform)
        platform.receiver.begin(self.inbox.accept)
        self.guild = env.create_guild()
        self.channel = self.guild.create_text_channel("general")
        self.account = env.create_user("ada")
        self.ada = self.guild.add_member(self.account)
        self.grace = self.guild.add_member(env.create_user("grace"))

    @property
    def last(self) -> Incoming:
        return self.inbox.incoming[-1]

    def seen(self, by: Any = None) -> list[str]:
        history = self.channel.history(viewer=by or self.ada)
        return [_ESCAPED.sub(r"\1", each.content) for each in sorted(history, key=lambda each: each.id)]

    def direct(self) -> list[Any]:
        return sorted(self.account.dm_channel.history(), key=lambda each: each.id)

    def item(self, text: str = "Yours", **fields: Any) -> Any:
        place = Place("discord", str(self.channel.id), private=False)
        return outgoing(str(self.ada.id), place, text, whisper=True, **fields)


@pytest.fixture
async def play(simcord_env: Any, platform: DiscordPlatform) -> Play:
    return Play(simcord_env, platform)


async def test_a_command_with_completion_is_answered_for_one_person(play: Play) -> None:
    offered = await play.ada.autocomplete(play.channel, "headshot", "style", "link")
    assert offered[0]["value"] == "linkedin"
    done = await play.ada.slash(play.channel, "headshot", style="linkedin", details="no tie")
    assert (done.deferred, done.ephemeral) == (True, True)
    assert play.last.event == Command("headshot", "linkedin, no tie")
    await play.platform.send([answer(play.last, "*One*")])
    await play.platform.send([answer(play.last, "Two")])
    assert play.seen() == ["*One*", "Two"]
    assert play.seen(play.grace) == []
    assert done.response.content
    assert len(done.followups) == 1


async def test_photos_by_option(play: Play) -> None:
    photos = {f"photo{n}": (f"{n}.jpg", picture(n)) for n in range(1, 11)}
    await play.ada.slash(play.channel, "selfies", **photos)
    event = play.last.event
    assert isinstance(event, PhotosSent)
    assert [photo.size_bytes for photo in event.photos] == [len(picture(n)) for n in range(1, 11)]


async def test_photos_by_form(play: Play) -> None:
    shown = await play.ada.slash(play.channel, "selfies")
    await play.platform.send([answer(play.last, "Selfies?", buttons=UPLOAD)])
    opened = await play.ada.click(shown.response, label="Send selfies")
    assert opened.modal
    sent = [[(f"{n}.jpg", picture(n)) for n in range(start, start + 10)] for start in (0, 10)]
    done = await play.ada.submit_modal(opened, {"photos1": sent[0], "photos2": sent[1]})
    event = play.last.event
    assert isinstance(event, PhotosSent)
    assert len({photo.unique_id for photo in event.photos}) == 20
    await play.platform.send([answer(play.last, "20 photos")])
    assert done.ephemeral
    assert play.seen() == ["Selfies?", "20 photos"]


async def test_a_pdf_in_the_form_is_named(play: Play) -> None:
    await play.ada.slash(play.channel, "selfies", photo1=("letter.pdf", b"%PDF-1.7"))
    assert play.last.event == OtherSent("pdf")


async def test_words_in_direct_messages(play: Play) -> None:
    await play.account.send_dm("hello")
    assert play.last.event == Text("hello")
    assert play.last.place.private
    await play.platform.send([answer(play.last, "Hi")])
    assert [each.content for each in play.direct()] == ["hello", "Hi"]


async def test_a_command_in_direct_messages_is_answered_there(play: Play) -> None:
    done = await play.account.slash("status")
    await play.platform.send([answer(play.last, "Fine")])
    assert not done.ephemeral
    assert [each.content for each in play.direct()] == ["Fine"]


async def test_buttons_outlive_a_restart(play: Play) -> None:
    shown = await play.ada.slash(play.channel, "status")
    await play.platform.send([answer(play.last, "Choose", buttons=buttons("Where do I stand?"))])
    again = make()
    inbox = Inbox(again)
    again.receiver.begin(inbox.accept)
    await play.env.restart_bot(again.client)
    pressed = await play.ada.click(shown.response, label="Where do I stand?")
    assert pressed.acknowledged
    assert inbox.incoming[-1].event == Choice("status")
    await again.send([answer(inbox.incoming[-1], "Here")])
    assert play.seen() == ["Choose", "Here"]
    await again.close()


async def test_an_answer_that_comes_too_late_for_discord_goes_by_direct_message(play: Play) -> None:
    play.env.inject_error("POST", "/interactions/*/callback", status=404, code=10062)
    done = await play.ada.slash(play.channel, "status")
    assert not done.acknowledged
    assert play.last.event == Command("status")
    await play.platform.send([answer(play.last, "Still here")])
    assert [each.content for each in play.direct()] == ["Still here"]


async def test_headshots_after_the_token_died_come_by_direct_message(play: Play) -> None:
    await play.ada.slash(play.channel, "headshot", style="linkedin")
    asked = play.last
    await play.env.advance_time(DEAD_SECONDS)
    pictures = [answer(asked, "", attachments=files(picture(n)), nonce=f"n{n}") for n in range(4)]
    await play.platform.send(pictures)
    assert [len(each.attachments) for each in play.direct()] == [4]
    assert [each.attachments for each in play.channel.history(viewer=play.grace)] == []


async def test_a_card_of_a_dead_token_goes_on_in_the_direct_messages(play: Play) -> None:
    await play.ada.slash(play.channel, "status")
    receipt = (await play.platform.send([answer(play.last, "10 %")]))[0]
    receipt = (await play.platform.send([answer(play.last, "20 %", edit=receipt.message)]))[0]
    assert play.seen() == ["20 %"]
    await play.env.advance_time(DEAD_SECONDS)
    receipt = (await play.platform.send([answer(play.last, "30 %", edit=receipt.message)]))[0]
    await play.platform.send([answer(play.last, "40 %", edit=receipt.message)])
    assert [each.content for each in play.direct()] == ["40 %"]


async def test_closed_messages_leave_a_button_whose_click_brings_the_pictures(play: Play) -> None:
    dm = play.account.dm_channel.id
    play.env.inject_error("POST", f"/channels/{dm}/messages", status=403, code=50007)
    item = play.item(attachments=files(picture(1)))
    with pytest.raises(SendRefused):
        await play.platform.send([item])
    word = play.channel.last_message
    assert play.ada.mention in word.content
    assert not word.attachments
    await play.ada.click(word, label="Show me")
    await play.platform.send([item])
    mine = sorted(play.channel.history(viewer=play.ada), key=lambda each: each.id)[-1]
    assert len(mine.attachments) == 1
    assert not any(each.attachments for each in play.channel.history(viewer=play.grace))


async def test_too_large_for_discord(play: Play) -> None:
    play.env.inject_error("POST", "/channels/*/messages", status=413, code=40005)
    with pytest.raises(SendImpossible, match="too_large"):
        await play.platform.send([play.item(attachments=files(picture(1)))])


async def test_commands_are_registered_once(play: Play) -> None:
    again = make()
    again.receiver.begin(Inbox(again).accept)
    await play.env.restart_bot(again.client)
    assert len([each for each in play.env.http_requests if each.method == "PUT"]) == 1
    assert set(play.ada.available_commands(play.channel)) == {info.name for info in COMMANDS}
    await again.close()


async def test_a_slow_commit_does_not_miss_discords_deadline(play: Play) -> None:
    keep = play.inbox.accept

    async def slowly(update: Any) -> None:
        await asyncio.sleep(10)
        await keep(update)

    play.platform.receiver.begin(slowly)
    done = await play.ada.slash(play.channel, "status")
    assert done.acknowledged
    assert play.inbox.incoming == []
    await play.env.advance_time(15)
    assert play.last.event == Command("status")
