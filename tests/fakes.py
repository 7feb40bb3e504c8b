"""What stands in for chat platforms and time in tests. The fake engine is `tests/fake_engine.py`."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bot.conversation.types import (
    Choice,
    Command,
    Event,
    FileRef,
    Incoming,
    Person,
    PhotosSent,
    Place,
    Started,
    Text,
)
from bot.platforms.base import Accept, Capabilities, Outgoing, RawUpdate, Receipt

UNLIMITED = Capabilities(
    text_max=4096,
    caption_max=1024,
    album_max=10,
    file_max_bytes=50 << 20,
    can_edit=True,
    edit_interval_seconds=0.0,
    chat_interval_seconds=0.0,
    group_per_minute=0,
    total_per_second=0.0,
)


@dataclass
class FixedClock:
    """A clock that goes only when it is told to."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


def place(who: str = "ann", chat: str = "") -> Place:
    """A private chat, or with `chat` a group."""
    return Place("fake", chat or who, private=not chat)


def person(who: str = "ann") -> Person:
    return Person("fake", who, name=who.title())


@dataclass
class FakePlatform:
    """A platform that keeps what it is sent.

    failures: what `send` raises next, one an attempt; None = it works. files: what `fetch` gives or raises,
    by the file's unique id. hold: chats whose sends wait until the event is set. Commands, choices and photos
    come as payloads that `update` makes.
    """

    name: str = "fake"
    capabilities: Capabilities = UNLIMITED
    failures: list[BaseException | None] = field(default_factory=list)
    files: dict[str, bytes | BaseException] = field(default_factory=dict)
    sent: list[tuple[Outgoing, ...]] = field(default_factory=list)
    attempts: list[tuple[Outgoing, ...]] = field(default_factory=list)
    hold: dict[str, asyncio.Event] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    def limited(self, **limits: Any) -> "FakePlatform":
        """With other limits."""
        self.capabilities = replace(self.capabilities, **limits)
        return self

    async def receive(self, accept: Accept) -> None:
        await asyncio.Event().wait()

    def translate(self, payload: dict[str, Any]) -> Incoming | None:
        if payload["what"] == "broken":
            raise ValueError("a payload that nobody understands")
        if payload["what"] == "nothing":
            return None
        where = place(payload["who"], payload.get("chat", ""))
        return Incoming(person(payload["who"]), where, _event(payload))

    async def send(self, items: Sequence[Outgoing]) -> list[Receipt]:
        self.attempts.append(tuple(items))
        if gate := self.hold.get(items[0].place.chat_id):
            await gate.wait()
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        self.sent.append(tuple(items))
        return [Receipt(item.edit or f"m{len(self.sent)}.{number}") for number, item in enumerate(items)]

    async def fetch(self, file: FileRef, max_bytes: int) -> bytes:
        self.fetched.append(file.unique_id)
        data = self.files[file.unique_id]
        if isinstance(data, BaseException):
            raise data
        return data

    async def close(self) -> None:
        pass

    @property
    def texts(self) -> list[str]:
        """The texts that went out, in order."""
        return [item.text for items in self.sent for item in items]


def update(key: str, what: str, *, who: str = "ann", **values: Any) -> RawUpdate:
    """start, command (name, argument), choice (action, argument), photo (files), text, nothing, broken."""
    return RawUpdate(f"fake:{key}", {"what": what, "who": who, **values})


def _event(payload: dict[str, Any]) -> Event:
    match payload["what"]:
        case "start":
            return Started()
        case "command":
            return Command(payload["name"], payload.get("argument", ""))
        case "choice":
            return Choice(payload["action"], payload.get("argument", ""))
        case "photo":
            return PhotosSent(tuple(FileRef(name, {"id": name}) for name in payload["files"]))
    return Text(payload.get("text", ""))


@dataclass
class SilentWake:
    """Wake-ups that nobody hears, remembered."""

    rung: list[tuple[str, str]] = field(default_factory=list)

    async def wake(self, kind: str, job_id: str) -> None:
        self.rung.append((kind, job_id))

    async def offer(self, job_id: str) -> bool:
        return False


async def until(
    wanted: Callable[[], Any], running: "asyncio.Task[Any] | None" = None, seconds: float = 60
) -> None:
    """Wait until something is true; what ends `running` by a failure is raised here."""
    deadline = time.monotonic() + seconds
    while not wanted():
        if running is not None and running.done():
            running.result()
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)
