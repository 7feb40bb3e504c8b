"""The platform as the application sees it."""

import asyncio
import logging
import socket

import pytest

from bot.conversation.types import Place, Text
from bot.errors import OperatorError, SendLater
from bot.platforms.discord import platform as module
from tests.bot.platforms.discord.kit import Inbox, answer, make_platform, outgoing, receiving, stage
from tests.servers.discord_people import DiscordPeople
from tests.servers.discord_server import TOKEN, DiscordServer, running_server

HERE = Place("discord", "1", private=True)


async def test_a_refused_token_is_the_operators_to_mend() -> None:
    async with running_server() as server:
        platform = make_platform(server.api_url, token="another")
        with pytest.raises(OperatorError, match="DISCORD_TOKEN"):
            await platform.receive(Inbox(platform).accept)
        await platform.close()


async def test_without_network_it_waits_and_serves_when_there_is_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "BACKOFF_SECONDS", (0.05,))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    platform = make_platform(f"http://127.0.0.1:{port}/api/v10")
    inbox = Inbox(platform)
    async with receiving(platform, inbox) as task:
        async with asyncio.timeout(5):
            while "Discord cannot be reached" not in caplog.text:
                await asyncio.sleep(0.02)
        with pytest.raises(SendLater):
            await platform.send([outgoing("7", HERE)])
        assert not task.done()
        server = DiscordServer()
        await server.start(port)
        async with DiscordPeople(server.url) as people:
            await people.connected()
            await (await people.person("Ada")).write("hello")
            assert (await inbox.wait(1))[0].event == Text("hello")
        await platform.close()
        await server.close()


async def test_closing_twice_and_before_anything_is_safe() -> None:
    platform = make_platform()
    await platform.close()
    await platform.close()


async def test_neither_tokens_nor_words_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with stage() as here:
        await here.ada.write("a secret wish")
        await here.ada.command("status", channel=here.channel)
        incoming = await here.last(2)
        await here.people.fault("POST /webhooks/*", status=404, code=10015)
        await here.platform.send([answer(incoming, "a private answer")])
        tokens = [each.token for each in here.server.world.interactions.values()]
    own = [
        record for record in caplog.records if record.name.startswith(("bot", "discord", "httpx", "httpcore"))
    ]
    logged = "\n".join(record.getMessage() for record in own)
    assert own
    for secret in (TOKEN, "a secret wish", "a private answer", *tokens):
        assert secret not in logged


async def test_capabilities_are_discords() -> None:
    platform = make_platform()
    able = platform.capabilities
    assert (platform.name, able.text_max, able.album_max, able.file_max_bytes) == (
        "discord",
        2000,
        10,
        10 * 1024 * 1024,
    )
    assert able.can_edit
    await platform.close()
