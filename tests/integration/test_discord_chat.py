"""The chat process and a small Discord, over websocket and HTTP: from hello to the selfies' card."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.application import Application, chat_platforms
from bot.config import Settings
from tests.servers.discord_people import DiscordPeople
from tests.servers.discord_server import TOKEN, running_server

NO_REDIS = "redis://127.0.0.1:9/0"  # wake-ups are lost; what was promised is not


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[DiscordPeople]:
    async with running_server() as server, DiscordPeople(server.url) as people:
        settings = Settings.model_validate(
            {
                "bot": {"data_dir": tmp_path},
                "discord": {"api_url": server.api_url},
                "queue": {"redis_url": NO_REDIS},
                "secrets": {"DISCORD_TOKEN": TOKEN},
            }
        )
        stop = asyncio.Event()
        running = asyncio.create_task(Application(settings, chat_platforms(settings)).run(stop))
        await people.connected(30)
        yield people
        stop.set()
        await running


def photos(count: int) -> list[bytes]:
    return [b"\xff\xd8\xff" + number.to_bytes(2, "big") for number in range(count)]


@pytest.mark.parametrize("private", [True, False])
async def test_consent_form_and_card(people: DiscordPeople, private: bool) -> None:
    ada, grace = await people.person("Ada"), await people.person("Grace")
    channel = await people.channel()
    place = "" if private else channel
    await ada.command("start", channel=place)
    consent = await ada.wait_for(lambda message: message.button("consent_yes"), place)
    await ada.press("consent_yes", consent, channel=place)
    asked = await ada.wait_for(lambda message: message.button("upload") and message.id != consent.id, place)
    form = await ada.press("upload", asked, channel=place)
    await ada.upload(form, photos(12))
    await ada.wait_for("1-12", place)
    await ada.command("selfies", photos=photos(14)[12:], channel=place)
    await ada.wait_for("1-14", place)
    mine = await ada.messages(place)
    assert not any(message.thinking for message in mine)
    assert sum("1-1" in message.text for message in mine) == 1, "one card, at the bottom"
    assert "1-14" in mine[-1].text
    assert await grace.messages(channel) == []


async def test_what_is_written_in_direct_messages_is_answered_there(people: DiscordPeople) -> None:
    ada = await people.person("Ada")
    await ada.write("hello")
    await ada.wait_for("/start")
    await ada.write("here I am", photos=photos(1))
    await ada.wait_for("did not keep this one")
