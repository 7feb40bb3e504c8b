"""What a chat platform is to the rest of the application: a translator with declared abilities.

A platform turns what it receives into `RawUpdate`s, hands each to `accept` (durable when that returns) and
only then tells the platform that it arrived; it turns a stored update into an `Incoming`; it sends one
outbox item at a time, or one album. It takes no decision about the conversation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bot.conversation.types import Button, FileRef, Incoming, Place
from bot.conversation.types import CommandInfo as CommandInfo


@dataclass(frozen=True)
class Capabilities:
    """What a platform can do, for the delivery loop."""

    text_max: int
    caption_max: int
    album_max: int  # pictures in one message; 1 = no albums
    file_max_bytes: int
    can_edit: bool
    edit_interval_seconds: float  # shortest time between two edits of one card
    chat_interval_seconds: float  # shortest time between two messages to one chat
    group_per_minute: int  # messages a minute to one group; 0 = no such limit
    total_per_second: float  # messages a second altogether


@dataclass(frozen=True)
class RawUpdate:
    """What the platform sent, as JSON, under a key that is the same when it is sent again."""

    key: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Attachment:
    """A picture or file to send."""

    name: str
    data: bytes
    as_file: bool = False  # send the bytes untouched (keeps provenance metadata)


@dataclass(frozen=True)
class Outgoing:
    """One logical item: a message, a card, a headshot or a file.

    `nonce` is the same on every attempt (at most 25 characters); a platform that can discard duplicates by
    it does so. `edit` is the platform's reference of the message to edit (a `Receipt.message`), else None.
    `replaces` is the reference of an older message that is taken away once this one is there, as far as the
    platform can do that; else empty.
    `reply` is the platform's own handle from the `Incoming` that this answers; it may have expired.
    """

    nonce: str
    user_id: str
    place: Place
    text: str = ""
    buttons: tuple[tuple[Button, ...], ...] = ()
    attachments: tuple[Attachment, ...] = ()
    whisper: bool = False
    edit: str | None = None
    replaces: str = ""
    reply: dict[str, Any] | None = None


@dataclass(frozen=True)
class Receipt:
    """The platform took the item; `message` is how to edit it later (empty if it cannot be edited)."""

    message: str = ""


class Accept(Protocol):
    """Keeps updates for good, all or none of them and in their order; durable when it returns."""

    async def __call__(self, *updates: RawUpdate) -> None:
        """Keep them."""


@dataclass(frozen=True)
class Health:
    """What the platform knows of its connection, for `likeness doctor` and the logs."""

    connected: bool
    detail: str = ""
    facts: dict[str, str] = field(default_factory=dict)


class Platform(Protocol):
    """A chat platform."""

    @property
    def name(self) -> str:
        """`telegram`, `discord` or `terminal`."""

    @property
    def capabilities(self) -> Capabilities:
        """Limits that the delivery loop keeps."""

    async def receive(self, accept: Accept) -> None:
        """Connect and receive until cancelled. Raises `bot.errors.OperatorError` on a refused token."""

    def translate(self, payload: dict[str, Any]) -> Incoming | None:
        """Turn a stored update into an `Incoming`; None if nobody needs to know. Pure."""

    async def send(self, items: Sequence[Outgoing]) -> list[Receipt]:
        """Send one item, or several pictures to one place as an album (at most `album_max`).

        Returns a receipt an item. Raises `bot.errors.SendError`; then none of the items counts as sent.
        """

    async def fetch(self, file: FileRef, max_bytes: int) -> bytes:
        """The bytes of a file that a person sent. Raises `bot.errors.FetchError`."""

    async def close(self) -> None:
        """Disconnect; safe to call twice."""
