"""How a platform is put under `test_platform_contract`: by a peer that plays one person on it.

A peer lives in `tests/contract/<platform>_peer.py` and registers itself:

    @platform_peer("telegram")
    @asynccontextmanager
    async def telegram_peer() -> AsyncIterator[Peer]:
        ...  # start a server, connect the platform, run `platform.receive(accept)`
        yield TelegramPeer(...)

Modules named `*_peer.py` are found and imported by `peers()`.
"""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from bot.conversation.types import Incoming
from bot.platforms.base import Outgoing, Platform, RawUpdate


@dataclass(frozen=True)
class Seen:
    """A message as the person sees it now (edits applied): its text, button labels, pictures' bytes."""

    text: str
    labels: tuple[str, ...] = ()
    pictures: tuple[bytes, ...] = ()


class Peer(Protocol):
    """One person in the private chat with the bot, and the platform under test, which is receiving.

    `can` names what this peer is able to play; tests of anything else are skipped and say so:
    text (plain words), photos, pdf, press, throttle, block, outage, exact_photos (pictures that are not sent
    as files reach the person byte by byte).
    """

    platform: Platform
    can: frozenset[str]
    raw: list[RawUpdate]  # every call of `accept`, in order

    def item(self, text: str, **fields: object) -> Outgoing:
        """An outbox item for this person in this chat."""

    async def command(self, name: str, argument: str = "") -> None:
        """Give a command, as a person does on this platform."""

    async def text(self, text: str) -> None:
        """Send plain words."""

    async def photos(self, photos: Sequence[bytes]) -> None:
        """Send photos together, in the platform's usual way."""

    async def pdf(self) -> None:
        """Send something that is no photo."""

    async def press(self, label: str) -> None:
        """Press a button of the newest message that has it."""

    async def seen(self) -> list[Seen]:
        """What the bot sent, oldest first; an album may be one message or several."""

    async def throttle(self, seconds: int) -> None:
        """The next message is refused: too many, again in `seconds`."""

    async def block(self) -> None:
        """The person blocks the bot or closes their messages."""

    async def outage(self) -> None:
        """The next message meets a broken connection or a server error."""

    async def wait_for(self, wanted: Callable[[Incoming], bool]) -> Incoming:
        """The first event that came in and fulfils `wanted`; fails after some seconds."""


PeerFactory = Callable[[], AbstractAsyncContextManager[Peer]]
_PEERS: dict[str, PeerFactory] = {}


def platform_peer(name: str) -> Callable[[PeerFactory], PeerFactory]:
    """Register a peer under the platform's name."""

    def register(factory: PeerFactory) -> PeerFactory:
        _PEERS[name] = factory
        return factory

    return register


def peers() -> dict[str, PeerFactory]:
    """All peers, by platform."""
    import tests.contract as package

    for module in pkgutil.iter_modules(package.__path__):
        if module.name.endswith("_peer"):
            importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_PEERS.items()))
