"""The Discord platform against the test server, with Ada in her direct messages."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from bot.conversation.types import Incoming, Place
from bot.platforms.base import Outgoing, RawUpdate
from tests.bot.platforms.discord.kit import Stage, stage
from tests.contract.platform_peers import Peer, Seen, platform_peer
from tests.servers.discord_people import Message


class DiscordPeer:
    """See `platform_peers.Peer`. discord.py waits out a short throttling itself; a longer one is tested in
    `tests.bot.platforms.discord.test_sending`."""

    can = frozenset({"text", "photos", "pdf", "press", "block", "outage", "exact_photos"})

    def __init__(self, here: Stage) -> None:
        self.platform, self._here, self._ada = here.platform, here, here.ada

    @property
    def raw(self) -> list[RawUpdate]:
        return list(self._here.inbox.raw.values())

    def item(self, text: str, **fields: object) -> Outgoing:
        self._items = getattr(self, "_items", 0) + 1
        place = Place("discord", self._ada.dm, private=True)
        return Outgoing(f"n{self._items}", self._ada.id, place, text, **fields)  # type: ignore[arg-type]

    async def command(self, name: str, argument: str = "") -> None:
        await self._ada.command(name, {"style": argument} if argument else {})

    async def text(self, text: str) -> None:
        await self._ada.write(text)

    async def photos(self, photos: Sequence[bytes]) -> None:
        await self._ada.command("selfies", photos=photos)

    async def pdf(self) -> None:
        await self._ada.command("selfies", photos=[b"%PDF-1.7"], kind="application/pdf")

    async def press(self, label: str) -> None:
        await self._ada.press(label)

    async def seen(self) -> list[Seen]:
        return [await self._seen(each) for each in await self._ada.messages() if not each.thinking]

    async def _seen(self, message: Message) -> Seen:
        pictures = [await self._here.people.file(url) for url in message.pictures]
        return Seen(message.text, tuple(button.label for button in message.buttons), tuple(pictures))

    async def throttle(self, seconds: int) -> None:
        raise NotImplementedError

    async def block(self) -> None:
        await self._ada.close_dms()

    async def outage(self) -> None:
        await self._here.people.fault("POST /channels/*", "drop")

    async def wait_for(self, wanted: Callable[[Incoming], bool]) -> Incoming:
        async with asyncio.timeout(5):
            while True:
                for found in self._here.inbox.incoming:
                    if wanted(found):
                        return found
                await asyncio.sleep(0.01)


@platform_peer("discord")
@asynccontextmanager
async def discord_peer() -> AsyncIterator[Peer]:
    """A server, the platform receiving from its gateway, and Ada."""
    async with stage() as here:
        yield DiscordPeer(here)
