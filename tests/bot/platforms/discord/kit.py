"""What the tests of the Discord platform share: a platform on the test server, and a record of updates."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot.config import DiscordSettings
from bot.conversation.types import Button, Incoming, Place
from bot.platforms.base import Attachment, CommandInfo, Outgoing, RawUpdate
from bot.platforms.discord import DiscordPlatform
from bot.styles import Catalogue
from tests.servers.discord_people import DiscordPeople, Person
from tests.servers.discord_server import TOKEN, DiscordServer, running_server

COMMANDS = (
    CommandInfo("start", "begin"),
    CommandInfo("selfies", "send selfies, and see what I have"),
    CommandInfo("remove", "take a selfie out", "number"),
    CommandInfo("headshot", "make headshots", "style", in_groups=True),
    CommandInfo("status", "where you stand"),
)
JPEG = b"\xff\xd8\xff\xe0"


def picture(number: int, size: int = 1000) -> bytes:
    """Bytes that differ from picture to picture."""
    return JPEG + number.to_bytes(4, "big") * (size // 4)


class Inbox:
    """An `accept` that keeps each key once, as the database does."""

    def __init__(self, platform: DiscordPlatform) -> None:
        self.platform, self.raw = platform, dict[str, RawUpdate]()

    async def accept(self, update: RawUpdate) -> None:
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


@dataclass
class Stage:
    """A server, the platform that receives from it, Ada and a channel."""

    server: DiscordServer
    platform: DiscordPlatform
    people: DiscordPeople
    ada: Person
    channel: str
    inbox: Inbox

    async def last(self, count: int = 1) -> Incoming:
        """The newest event, once there are `count`."""
        return (await self.inbox.wait(count))[-1]


def make_platform(url: str = "", token: str = TOKEN, **fields: object) -> DiscordPlatform:
    settings = DiscordSettings(api_url=url, **fields)  # type: ignore[arg-type]
    return DiscordPlatform(token, settings, COMMANDS, Catalogue.load())


@asynccontextmanager
async def receiving(platform: DiscordPlatform, inbox: Inbox) -> AsyncIterator[asyncio.Task[None]]:
    """The platform receives for as long as the block lasts."""
    task = asyncio.create_task(platform.receive(inbox.accept))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
        await platform.close()


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    async with running_server() as server, DiscordPeople(server.url) as people:
        ada, channel = await people.person("Ada"), await people.channel("general")
        platform = make_platform(server.api_url)
        inbox = Inbox(platform)
        async with receiving(platform, inbox):
            await people.connected()
            yield Stage(server, platform, people, ada, channel, inbox)


def answer(to: Incoming, text: str = "Hello", **fields: object) -> Outgoing:
    """What the conversation would send in reply: a whisper where that can be."""
    whisper = to.can_whisper and bool(fields.pop("whisper", True))
    return outgoing(to.person.user_id, to.place, text, whisper=whisper, reply=to.reply, **fields)


def outgoing(user_id: str, place: Place, text: str = "Hello", **fields: object) -> Outgoing:
    nonce = str(fields.pop("nonce", f"n-{abs(hash((text, place.chat_id))) % 10**9}"))
    return Outgoing(nonce, user_id, place, text, **fields)  # type: ignore[arg-type]


def buttons(*labels: str) -> tuple[tuple[Button, ...], ...]:
    return (
        tuple(
            Button(label, "status") if n == 0 else Button(label, f"a{n}") for n, label in enumerate(labels)
        ),
    )


def files(*data: bytes) -> tuple[Attachment, ...]:
    return tuple(Attachment(f"headshot-{n}.jpg", each) for n, each in enumerate(data, start=1))
