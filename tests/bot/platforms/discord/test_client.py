"""The wire: a real gateway and a real API."""

import asyncio

import discord

from bot.conversation.types import Text
from tests.bot.platforms.discord.kit import Inbox, make_platform, receiving, stage
from tests.servers.discord_gateway import PRIVILEGED
from tests.servers.discord_people import DiscordPeople
from tests.servers.discord_server import running_server


async def test_it_asks_for_no_privileged_intent() -> None:
    async with stage() as here:
        state = await here.people.state()
        assert state["intents"] == discord.Intents(guilds=True, dm_messages=True).value
        assert not state["intents"] & PRIVILEGED
        assert state["heartbeats"] >= 1


async def test_what_happens_while_the_connection_is_broken_comes_after_it() -> None:
    async with stage() as here:
        await here.people.drop()
        await here.ada.write("are you there?")
        await here.people.connected()
        assert (await here.last()).event == Text("are you there?")
        state = await here.people.state()
        assert (state["identified"], state["resumed"]) == (1, 1)


async def test_it_connects_anew_where_the_connection_cannot_be_mended() -> None:
    async with stage() as here:
        await here.people.drop(4013)  # a close code that ends discord.py's own tries
        async with asyncio.timeout(10):
            while (await here.people.state())["identified"] < 2:
                await asyncio.sleep(0.05)
        await here.people.connected()
        await here.ada.write("again?")
        assert (await here.last()).event == Text("again?")


async def test_a_forgotten_session_is_begun_anew() -> None:
    async with stage() as here:
        here.server.gateway.forget()
        await here.people.drop()
        async with asyncio.timeout(15):
            while (await here.people.state())["identified"] < 2:
                await asyncio.sleep(0.05)
        await here.ada.write("anew?")
        assert (await here.last()).event == Text("anew?")


async def test_it_uses_the_address_from_the_settings_for_everything() -> None:
    async with running_server() as server, DiscordPeople(server.url) as people:
        platform = make_platform(server.api_url + "/")
        async with receiving(platform, Inbox(platform)):
            await people.connected()
    assert server.api_url == discord.http.Route.BASE
    make_platform()
    assert discord.http.Route.BASE == "https://discord.com/api/v10"
    assert discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY.host == "gateway.discord.gg"
