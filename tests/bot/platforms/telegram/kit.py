"""What the tests of the Telegram platform share: a platform on the test server, and a record of updates."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from bot.config import TelegramSettings
from bot.conversation.types import Button, Incoming, Place
from bot.platforms.base import Attachment, CommandInfo, Outgoing, RawUpdate
from bot.platforms.telegram import TelegramPlatform
from tests.servers.telegram_people import Person, TelegramPeople
from tests.servers.telegram_server import TOKEN, running_server

COMMANDS = (
    CommandInfo("start", "Begin"),
    CommandInfo("headshot", "Make headshots", "style", in_groups=True),
    CommandInfo("status", "Where things stand"),
)
JPEG = b"\xff\xd8\xff\xe0"  # enough for the server to take bytes for a picture


def picture(number: int, size: int = 1000) -> bytes:
    """Bytes that differ from picture to picture."""
    return JPEG + number.to_bytes(4, "big") * (size // 4)


class Inbox:
    """An `accept` that keeps each key once, as the database does."""

    def __init__(self, platform: TelegramPlatform) -> None:
        self.platform, self.raw, self.calls = platform, dict[str, RawUpdate](), 0

    async def accept(self, *updates: RawUpdate) -> None:
        self.calls += len(updates)
        for update in updates:
            self.raw.setdefault(update.key, update)

    @property
    def incoming(self) -> list[Incoming]:
        found = (self.platform.translate(update.payload) for update in self.raw.values())
        return [incoming for incoming in found if incoming]

    async def wait(self, count: int, timeout: float = 5.0) -> list[Incoming]:
        """The first `count` events, once they are there."""
        async with asyncio.timeout(timeout):
            while len(self.incoming) < count:
                await asyncio.sleep(0.01)
        return self.incoming


@asynccontextmanager
async def receiving(platform: TelegramPlatform) -> AsyncIterator[Inbox]:
    """The platform receives for as long as the block lasts."""
    inbox = Inbox(platform)
    task = asyncio.create_task(platform.receive(inbox.accept))
    try:
        yield inbox
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def telegram(
    settings: TelegramSettings | None = None, token: str = TOKEN
) -> AsyncIterator[tuple[TelegramPlatform, TelegramPeople, Person]]:
    """A server, a platform that talks to it, and Ada, who has an account."""
    async with running_server() as server, TelegramPeople(server.url) as people:
        settings = (settings or TelegramSettings()).model_copy(update={"api_url": server.url})
        platform = TelegramPlatform(token, settings, COMMANDS)
        try:
            yield platform, people, await people.person("Ada")
        finally:
            await platform.close()


def message(person: Person, text: str = "Hello", chat: int | None = None, **fields: object) -> Outgoing:
    """An outbox item for a person, in the private chat or in a group."""
    place = Place("telegram", str(chat or person.id), private=chat is None)
    return Outgoing(nonce="n1", user_id=str(person.id), place=place, text=text, **fields)  # type: ignore[arg-type]


def photo(number: int, *, as_file: bool = False, size: int = 1000) -> Attachment:
    return Attachment(f"{number}.jpg", picture(number, size), as_file)


def row(*buttons: tuple[str, str, str]) -> tuple[tuple[Button, ...], ...]:
    return (tuple(Button(*button) for button in buttons),)
