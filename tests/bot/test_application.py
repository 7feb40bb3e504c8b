"""The chat process put together: answers go out, one bad platform stops alone, and it ends cleanly."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.application import Application, chat_platforms
from bot.config import Settings
from bot.conversation.types import Command, FileRef, Incoming, Person, Place
from bot.errors import ConfigError, FetchImpossible, OperatorError
from bot.platforms.base import Accept, Capabilities, Outgoing, RawUpdate, Receipt

UNLIMITED = Capabilities(4096, 1024, 10, 1 << 30, True, 0.0, 0.0, 0, 1000.0)


class QuietPlatform:
    """Receives what a test hands it and keeps what it is told to send."""

    capabilities = UNLIMITED

    def __init__(self, name: str, refused: str = "") -> None:
        self.name, self._refused = name, refused
        self.accept: asyncio.Future[Accept] = asyncio.get_running_loop().create_future()
        self.sent: asyncio.Queue[Outgoing] = asyncio.Queue()
        self.closed = 0
        self.left = asyncio.Event()

    async def receive(self, accept: Accept) -> None:
        if self._refused:
            raise OperatorError(self._refused)
        self.accept.set_result(accept)
        await self.left.wait()

    def translate(self, payload: dict[str, Any]) -> Incoming | None:
        person = Person(self.name, payload["user"])
        return Incoming(person, Place(self.name, payload["user"], private=True), Command(payload["command"]))

    async def send(self, items: Sequence[Outgoing]) -> list[Receipt]:
        for item in items:
            self.sent.put_nowait(item)
        return [Receipt(item.nonce) for item in items]

    async def fetch(self, file: FileRef, max_bytes: int) -> bytes:
        raise FetchImpossible("gone")

    async def close(self) -> None:
        self.closed += 1


def settings_in(folder: Path, **tables: Any) -> Settings:
    return Settings.model_validate({"bot": {"data_dir": folder}, **tables})


async def ask(platform: QuietPlatform, command: str, key: str = "1") -> Outgoing:
    accept = await asyncio.wait_for(asyncio.shield(platform.accept), 10)
    await accept(RawUpdate(key, {"user": "7", "command": command}))
    return await asyncio.wait_for(platform.sent.get(), 10)


async def test_what_comes_in_is_answered_without_any_redis(tmp_path: Path) -> None:
    platform, stop = QuietPlatform("quiet"), asyncio.Event()
    running = asyncio.create_task(Application(settings_in(tmp_path), {"quiet": platform}).run(stop))
    answer = await ask(platform, "help")
    assert "/headshot" in answer.text
    stop.set()
    await asyncio.wait_for(running, 10)
    assert platform.closed == 1


async def test_what_was_kept_before_a_stop_is_answered_after_the_next_start(tmp_path: Path) -> None:
    for key in ("1", "2"):
        platform, stop = QuietPlatform("quiet"), asyncio.Event()
        running = asyncio.create_task(Application(settings_in(tmp_path), {"quiet": platform}).run(stop))
        accept = await asyncio.wait_for(platform.accept, 10)
        await accept(RawUpdate(key, {"user": "7", "command": "help"}))
        if key == "1":
            stop.set()
        else:
            await asyncio.wait_for(platform.sent.get(), 10)
            stop.set()
        await asyncio.wait_for(running, 10)


async def test_a_refused_token_stops_its_platform_alone(tmp_path: Path) -> None:
    good, bad, stop = QuietPlatform("good"), QuietPlatform("bad", refused="no such token"), asyncio.Event()
    application = Application(settings_in(tmp_path), {"good": good, "bad": bad})
    running = asyncio.create_task(application.run(stop))
    assert (await ask(good, "help")).text
    stop.set()
    await asyncio.wait_for(running, 10)
    assert (good.closed, bad.closed) == (1, 1)


async def test_where_no_platform_is_left_the_operator_is_told(tmp_path: Path) -> None:
    bad = QuietPlatform("bad", refused="no such token")
    with pytest.raises(OperatorError, match="no such token"):
        await asyncio.wait_for(Application(settings_in(tmp_path), {"bad": bad}).run(asyncio.Event()), 10)
    assert bad.closed == 1


async def test_it_ends_when_the_only_chat_was_left(tmp_path: Path) -> None:
    platform = QuietPlatform("quiet")
    platform.left.set()
    await asyncio.wait_for(Application(settings_in(tmp_path), {"quiet": platform}).run(asyncio.Event()), 10)


async def test_a_loop_that_breaks_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("bot.application.Fetching.run", break_down)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(
            Application(settings_in(tmp_path), {"quiet": QuietPlatform("quiet")}).run(asyncio.Event()), 10
        )


def test_the_licence_comes_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="licence"):
        Application(settings_in(tmp_path, engine={"base": "flux1-dev"}), {})


def test_platforms_are_those_with_a_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TELEGRAM_TOKEN"):
        chat_platforms(settings_in(tmp_path))
    token = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"
    assert list(chat_platforms(settings_in(tmp_path, secrets={"TELEGRAM_TOKEN": token}))) == ["telegram"]
