"""The Telegram platform against the test server, with Ada in her private chat."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from bot.conversation.types import Incoming, Place
from bot.platforms.base import Outgoing, RawUpdate
from bot.platforms.telegram import TelegramPlatform
from tests.bot.platforms.telegram.kit import receiving, telegram
from tests.contract.platform_peers import Peer, Seen, platform_peer
from tests.servers.telegram_people import Message, Person


class TelegramPeer:
    """See `platform_peers.Peer`."""

    can = frozenset({"text", "photos", "pdf", "press", "throttle", "block", "outage", "exact_photos"})

    def __init__(self, platform: TelegramPlatform, person: Person, raw: dict[str, RawUpdate]) -> None:
        self.platform, self._person, self._raw = platform, person, raw

    @property
    def raw(self) -> list[RawUpdate]:
        return list(self._raw.values())

    def item(self, text: str, **fields: object) -> Outgoing:
        user_id = str(self._person.id)
        return Outgoing("n1", user_id, Place("telegram", user_id, private=True), text, **fields)  # type: ignore[arg-type]

    async def command(self, name: str, argument: str = "") -> None:
        await self._person.text(f"/{name} {argument}".rstrip())

    async def text(self, text: str) -> None:
        await self._person.text(text)

    async def photos(self, photos: Sequence[bytes]) -> None:
        await (self._person.album(photos) if len(photos) > 1 else self._person.photo(photos[0]))

    async def pdf(self) -> None:
        await self._person.document(b"%PDF-1.7", "letter.pdf", "application/pdf")

    async def press(self, label: str) -> None:
        await self._person.press(label)

    async def seen(self) -> list[Seen]:
        return [await self._seen(message) for message in await self._person.messages()]

    async def _seen(self, message: Message) -> Seen:
        file_id = message.photo or message.document
        pictures = (await self._person.people.file(file_id),) if file_id else ()
        return Seen(message.text, tuple(button.label for button in message.buttons), pictures)

    async def throttle(self, seconds: int) -> None:
        await self._person.people.throttle("sendMessage", seconds)

    async def block(self) -> None:
        await self._person.block()

    async def outage(self) -> None:
        await self._person.people.fault("sendMessage", "drop")

    async def wait_for(self, wanted: Callable[[Incoming], bool]) -> Incoming:
        async with asyncio.timeout(5):
            while True:
                for raw in self.raw:
                    found = self.platform.translate(raw.payload)
                    if found and wanted(found):
                        return found
                await asyncio.sleep(0.01)


@platform_peer("telegram")
@asynccontextmanager
async def telegram_peer() -> AsyncIterator[Peer]:
    """A server, the platform receiving by long polling, and Ada."""
    async with telegram() as (platform, _, ada), receiving(platform) as inbox:
        yield TelegramPeer(platform, ada, inbox.raw)
