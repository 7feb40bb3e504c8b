"""Texts, buttons and pictures in the form and within the limits of Discord.

Texts are plain, so whatever Discord would read as markdown is escaped. Lengths are counted after that, in
UTF-16 units: never fewer than Discord's own characters.
"""

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import discord

from bot.conversation.types import Button
from bot.errors import SendImpossible
from bot.platforms.base import Attachment, Outgoing

TEXT_MAX = 2000
FILES_MAX = 10
FILE_MAX_BYTES = 10 * 1024 * 1024
ROWS_MAX, ROW_MAX, LABEL_MAX, DATA_MAX_BYTES = 5, 5, 80, 100
NONCE_MAX = 25
_PRIMARY = ("consent_yes", "upload", "train", "show")
_DANGER = ("forget_yes",)

Rows = Sequence[Sequence[Button]]


@dataclass(frozen=True)
class Message:
    """One message as Discord takes it. `nonce` is the same on every attempt."""

    nonce: str
    text: str = ""
    files: tuple[Attachment, ...] = ()
    buttons: Rows = ()

    def contents(self) -> dict[str, Any]:
        """Arguments of discord.py for a new message; made anew for each attempt, which uses up the files."""
        made: dict[str, Any] = {
            "content": escape(self.text),
            "allowed_mentions": discord.AllowedMentions.none(),
        }
        if self.files:
            made["files"] = [discord.File(io.BytesIO(file.data), file.name) for file in self.files]
        if view := view_of(self.buttons):
            made["view"] = view
        return made

    def changes(self) -> dict[str, Any]:
        """Arguments of discord.py for an edit, which also takes buttons away."""
        mentions = discord.AllowedMentions.none()
        return {"content": escape(self.text), "view": view_of(self.buttons), "allowed_mentions": mentions}


def messages(items: Sequence[Outgoing]) -> list[Message]:
    """One item, or pictures as one album, as messages. Raises SendImpossible for what never fits."""
    pictures = tuple(picture for item in items for picture in item.attachments)
    if any(len(picture.data) > FILE_MAX_BYTES for picture in pictures):
        raise SendImpossible("too_large")
    if len(items) > 1 and (len(pictures) > FILES_MAX or any(item.buttons or item.edit for item in items)):
        raise SendImpossible("not an album")
    text = "\n".join(item.text for item in items if item.text)
    parts = [part for part in split(text) if part.strip()]
    groups = [pictures[start : start + FILES_MAX] for start in range(0, len(pictures), FILES_MAX)]
    if not parts and not groups:
        raise SendImpossible("empty")
    bodies: list[tuple[str, tuple[Attachment, ...]]] = [(part, ()) for part in parts]
    if groups:
        caption = bodies.pop()[0] if bodies else ""
        bodies += [(caption, groups[0]), *(("", group) for group in groups[1:])]
    return [
        Message(
            _nonce(items[0].nonce, number), part, files, items[0].buttons if number == len(bodies) else ()
        )
        for number, (part, files) in enumerate(bodies, start=1)
    ]


def escape(text: str) -> str:
    """`text` so that Discord shows it as it is; addresses stay whole."""
    return discord.utils.escape_markdown(text)


def split(text: str) -> Iterator[str]:
    """Parts that fit into one message each, broken between lines or words; together they are `text`."""
    part = ""
    for word in re.findall(r"\s*\S{1,900}|\s+\Z", text):
        if part and _units(escape(part + word)) > TEXT_MAX:
            yield part
            part = ""
        part += word
    yield part


def view_of(rows: Rows) -> discord.ui.View | None:
    """Buttons below a message; None without any.

    discord.py is told that the view is finished, so that it remembers none: presses are handled by what the
    button carries, and so also after a restart.
    """
    if not any(rows):
        return None
    chunks = [row[start : start + ROW_MAX] for row in rows for start in range(0, len(row), ROW_MAX)]
    view = discord.ui.View(timeout=None)
    for number, row in enumerate(chunks[:ROWS_MAX]):
        for button in row:
            view.add_item(_button(button, number))
    view.stop()
    return view


def _button(button: Button, row: int) -> discord.ui.Button[discord.ui.View]:
    data = f"v1:{button.action}:{button.argument}"
    if len(data.encode()) > DATA_MAX_BYTES:
        raise SendImpossible("a button carries too much")
    style = discord.ButtonStyle.secondary
    if button.action in _PRIMARY:
        style = discord.ButtonStyle.primary
    elif button.action in _DANGER:
        style = discord.ButtonStyle.danger
    return discord.ui.Button(style=style, label=button.label[:LABEL_MAX], custom_id=data, row=row)


def _nonce(nonce: str, number: int) -> str:
    """Discord discards a second message with the nonce of the first; each part has its own."""
    return hashlib.sha256(f"{nonce}/{number}".encode()).hexdigest()[:NONCE_MAX]


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
