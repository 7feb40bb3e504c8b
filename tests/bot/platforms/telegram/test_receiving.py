"""Updates in, over real HTTP: nothing is confirmed before it was accepted, whatever breaks."""

import asyncio
import json
import logging
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from telegram import Bot

from bot.config import TelegramSettings
from bot.conversation.types import Command, PhotosSent, Started, Text
from bot.errors import ConfigError, OperatorError
from bot.platforms.base import RawUpdate
from bot.platforms.telegram import TelegramPlatform, receiving
from tests.bot.platforms.telegram import kit
from tests.fakes import until
from tests.servers.telegram_people import TelegramPeople
from tests.servers.telegram_server import TOKEN, running_server

ROOT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "BACKOFF_SECONDS", (0.05, 0.1))
    monkeypatch.setattr(receiving, "CONFLICT_SECONDS", 0.05)


async def test_an_album_arrives_as_single_photos_in_order() -> None:
    async with kit.telegram() as (platform, people, ada), kit.receiving(platform) as inbox:
        await ada.album([kit.picture(n) for n in range(10)], "all of me")
        await ada.album([kit.picture(n) for n in range(10, 15)])
        events = [incoming.event for incoming in await inbox.wait(15)]
        assert all(isinstance(event, PhotosSent) for event in events)
        files = [event.photos[0] for event in events]
        assert [await platform.fetch(file, 10_000) for file in files] == [kit.picture(n) for n in range(15)]
        await people.all_taken()


async def test_what_comes_together_is_kept_together_and_in_order() -> None:
    async with kit.telegram() as (platform, people, ada):
        for word in ("one", "two", "three"):
            await ada.text(word)
        calls: list[list[str]] = []

        async def accept(*updates: RawUpdate) -> None:
            calls.append([update.payload["message"]["text"] for update in updates])

        task = asyncio.create_task(platform.receive(accept))
        await people.all_taken()
        assert calls == [["one", "two", "three"]]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_update_is_confirmed_only_after_it_was_accepted() -> None:
    async with kit.telegram() as (platform, people, ada):
        gate, accepted = asyncio.Event(), []

        async def accept(*updates: RawUpdate) -> None:
            await gate.wait()
            accepted.extend(update.key for update in updates)

        task = asyncio.create_task(platform.receive(accept))
        await ada.text("one")
        await ada.text("two")
        await asyncio.sleep(0.3)
        assert (await people.state())["waiting"] == 2
        gate.set()
        await people.all_taken()
        assert accepted == ["telegram:100001", "telegram:100002"]
        task.cancel()


async def test_what_could_not_be_stored_comes_again() -> None:
    async with kit.telegram() as (platform, people, ada):
        await ada.text("one")
        await ada.text("two")

        async def broken(*updates: RawUpdate) -> None:
            if updates[-1].key.endswith("2"):
                raise OSError("disk full")

        with pytest.raises(OSError, match="disk full"):
            await platform.receive(broken)
        async with kit.receiving(platform) as inbox:
            assert [incoming.event for incoming in await inbox.wait(2)] == [Text("one"), Text("two")]
            await people.all_taken()


KILLED = """
import asyncio, os, signal, sqlite3, sys
from bot.config import TelegramSettings
from bot.platforms.telegram import TelegramPlatform

url, token, path, kill = sys.argv[1:]
database = sqlite3.connect(path)
database.execute("create table if not exists inbox (key text primary key, calls int default 1)")

async def main():
    platform = TelegramPlatform(token, TelegramSettings(api_url=url), ())
    async def accept(*updates):
        for update in updates:
            database.execute(
                "insert into inbox (key) values (?) on conflict do update set calls = calls + 1",
                (update.key,),
            )
        if kill == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        database.commit()
        if kill == "after":
            os.kill(os.getpid(), signal.SIGKILL)
    await platform.receive(accept)

asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    """kill -9 before the commit, and between the commit and the confirmation."""
    path = tmp_path / "inbox.db"
    async with running_server() as server, TelegramPeople(server.url) as people:
        ada = await people.person()
        for number in range(12):
            await ada.text(str(number))
        for kill in ("before", "after", "after", "never"):
            command = [sys.executable, "-c", KILLED, server.url, TOKEN, str(path), kill]
            process = subprocess.Popen(command, cwd=ROOT)
            try:
                if kill != "never":
                    assert await asyncio.to_thread(process.wait, 30) == -9
                    assert (await people.state())["waiting"] == 12
                else:
                    await people.all_taken(20)
            finally:
                process.kill()
                process.wait()
        calls = dict(sqlite3.connect(path).execute("select key, calls from inbox"))
        assert list(calls) == [f"telegram:{100001 + n}" for n in range(12)]
        assert set(calls.values()) == {3}  # taken again after every kill, stored once


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop", "times": 3},
        {"code": 502, "description": "Bad Gateway", "times": 3},
        {"code": 409, "description": "Conflict: terminated by other getUpdates request", "times": 3},
        {"code": 429, "description": "Too Many", "parameters": {"retry_after": 1}},
    ],
)
@pytest.mark.parametrize("method", ["getUpdates", "getMe", "deleteWebhook"])
async def test_faults_while_receiving_pass(
    fault: dict, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with kit.telegram() as (platform, people, ada):
        await people.fault(method, **fault)
        await ada.text("still here")
        async with kit.receiving(platform) as inbox:
            assert (await inbox.wait(1))[0].event == Text("still here")
        assert "again in" in caplog.text
        assert TOKEN not in caplog.text


async def test_a_second_process_for_the_same_bot_is_named_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with kit.telegram() as (platform, _, ada):
        other = TelegramPlatform(TOKEN, platform._settings, ())
        async with kit.receiving(platform) as one, kit.receiving(other) as two:
            await until(lambda: "another process receives this bot's messages" in caplog.text)
            await ada.text("hello")
            await until(lambda: one.raw or two.raw)
        await other.close()


async def test_people_who_block_and_come_back() -> None:
    async with kit.telegram() as (platform, people, ada), kit.receiving(platform) as inbox:
        await ada.block()
        await ada.unblock()
        await ada.text("/start")
        kinds = [type(incoming.event).__name__ for incoming in await inbox.wait(2)]
        assert kinds == ["Blocked", "Started"]
        await people.all_taken()


async def test_only_what_is_needed_is_subscribed_to() -> None:
    async with kit.telegram() as (platform, people, ada), kit.receiving(platform) as inbox:
        await ada.text("x")
        await inbox.wait(1)
        asked = (await people.requests("getUpdates"))[-1]["params"]["allowed_updates"]
        assert json.loads(asked) == ["message", "callback_query", "my_chat_member"]


# ---------------------------------------------------------------- webhook


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def webhook_settings() -> TelegramSettings:
    port = free_port()
    return TelegramSettings(
        mode="webhook",
        webhook_url=f"http://127.0.0.1:{port}/",
        webhook_listen="127.0.0.1",
        webhook_port=port,
    )


async def test_a_webhook_takes_updates_and_answers_after_they_were_accepted() -> None:
    async with kit.telegram(webhook_settings()) as (platform, people, ada):
        gate, accepted = asyncio.Event(), []

        async def accept(*updates: RawUpdate) -> None:
            await gate.wait()
            accepted.extend(platform.translate(update.payload).event for update in updates)

        task = asyncio.create_task(platform.receive(accept))
        await ada.text("/start x")
        await ada.text("/headshot studio")
        await asyncio.sleep(0.5)
        assert (await people.state())["waiting"] == 2
        gate.set()
        await people.all_taken()
        assert accepted == [Started("x"), Command("headshot", "studio")]
        task.cancel()


async def test_what_a_webhook_could_not_store_is_called_again() -> None:
    async with kit.telegram(webhook_settings()) as (platform, people, ada):
        tries: list[str] = []

        async def accept(*updates: RawUpdate) -> None:
            tries.extend(update.key for update in updates)
            if len(tries) == 1:
                raise OSError("disk full")

        logging.getLogger("tornado").setLevel(logging.CRITICAL)
        task = asyncio.create_task(platform.receive(accept))
        await ada.text("one")
        await people.all_taken()
        assert tries == ["telegram:100001"] * 2
        task.cancel()


async def test_only_telegram_may_call_the_webhook() -> None:
    settings = webhook_settings()
    async with kit.telegram(settings) as (platform, people, ada), kit.receiving(platform) as inbox:
        await ada.text("hello")
        await inbox.wait(1)
        url = (await people.state())["webhook"]["url"]
        secret = (await people.state())["webhook"]["secret_token"]
        assert len(secret) >= 32
        assert secret not in TOKEN
        header = "X-Telegram-Bot-Api-Secret-Token"
        body = {"update_id": 1, "message": {}}
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.post(url, json=body)).status_code == 403
            assert (await http.post(url, json=body, headers={header: "guess"})).status_code == 403
            assert (await http.post(url, content="no json", headers={header: secret})).status_code == 400
            assert (await http.post(url, json=[1], headers={header: secret})).status_code == 400
            assert (await http.get(url)).status_code == 405
        assert len(inbox.raw) == 1


async def test_the_operator_may_choose_the_webhooks_secret() -> None:
    async with running_server() as server, TelegramPeople(server.url) as people:
        settings = webhook_settings().model_copy(update={"api_url": server.url})
        platform = TelegramPlatform(TOKEN, settings, (), webhook_secret="chosen-secret")
        async with kit.receiving(platform) as inbox:
            await (await people.person()).text("hello")
            await inbox.wait(1)
            assert (await people.state())["webhook"]["secret_token"] == "chosen-secret"
        await platform.close()


async def test_polling_leaves_webhook_mode_and_keeps_what_waits() -> None:
    async with kit.telegram(webhook_settings()) as (platform, people, ada):
        async with kit.receiving(platform) as inbox:
            await ada.text("one")
            await inbox.wait(1)
        await ada.text("two")  # nobody listens any more
        polling = TelegramPlatform(TOKEN, TelegramSettings(api_url=platform._settings.api_url), kit.COMMANDS)
        async with kit.receiving(polling) as inbox:
            assert (await inbox.wait(1))[0].event == Text("two")
        await polling.close()
        assert (await people.state())["webhook"] == {}


async def test_a_webhook_without_an_address_or_a_port_is_the_operators_to_mend() -> None:
    async with kit.telegram(TelegramSettings(mode="webhook")) as (platform, _, _):
        with pytest.raises(ConfigError, match="webhook_url"):
            await platform.receive(lambda update: asyncio.sleep(0))
    unsafe = TelegramSettings(mode="webhook", webhook_url="http://example.org")
    with pytest.raises(ConfigError, match="https://"):
        await receiving.serve(Bot(TOKEN), unsafe, "secret", lambda update: asyncio.sleep(0))
    settings = webhook_settings()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.webhook_port))
        taken.listen()
        async with kit.telegram(settings) as (platform, _, _):
            with pytest.raises(OperatorError, match="webhook_port"):
                await platform.receive(lambda update: asyncio.sleep(0))
