"""A chat in a terminal: for trying Likeness without any token, and for the demo.

A line is a command, the number of a button, one or more photos (paths, folders, patterns), or plain words.
Lines become updates that are stored like any platform's; pictures are saved to a folder.
"""

import asyncio
import glob
import hashlib
import re
import shlex
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bot.conversation.types import (
    Choice,
    Command,
    Event,
    FileRef,
    Incoming,
    OtherSent,
    Person,
    PhotosSent,
    Place,
    Started,
    Text,
)
from bot.errors import FetchImpossible
from bot.platforms.base import Accept, Attachment, Capabilities, Outgoing, RawUpdate, Receipt
from bot.platforms.keyboard import Keyboard
from bot.platforms.screen import Screen

PERSON = Person(platform="terminal", user_id="you")
PLACE = Place(platform="terminal", chat_id="you", private=True)
PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".avif"}
_OTHER = {
    ".pdf": "pdf",
    ".mp4": "video",
    ".mov": "video",
    ".gif": "animation",
    ".mp3": "audio",
    ".ogg": "voice",
}
_QUIET_SECONDS = 3.0  # after the end of a piped conversation, wait for answers until so long nothing came


class TerminalPlatform:
    """One person at one terminal (`bot.platforms.base.Platform`).

    out_dir: where pictures and files go. commands: names of the known commands, which win over paths.
    watch: called with all that is shown and the files of its pictures, for a script that plays the person.
    """

    def __init__(
        self,
        keyboard: Keyboard,
        screen: Screen,
        out_dir: Path,
        commands: Sequence[str],
        watch: Callable[[Outgoing, Sequence[Path]], None] | None = None,
    ) -> None:
        self._keyboard, self._screen, self._out_dir = keyboard, screen, out_dir
        self._commands, self._watch = frozenset(commands), watch
        self._buttons: dict[tuple[str, str], int] = {}  # what a number stands for never changes
        self._run, self._count = uuid.uuid4().hex[:12], 0
        self._shown_at = time.monotonic()

    @property
    def name(self) -> str:
        """See `Platform`."""
        return "terminal"

    @property
    def capabilities(self) -> Capabilities:
        """A terminal takes everything; cards are redrawn twice a second."""
        return Capabilities(
            text_max=20_000,
            caption_max=20_000,
            album_max=10,
            file_max_bytes=1 << 31,
            can_edit=True,
            edit_interval_seconds=0.5,
            chat_interval_seconds=0.0,
            group_per_minute=0,
            total_per_second=1000.0,
        )

    async def receive(self, accept: Accept) -> None:
        """Read lines until there are no more."""
        self._screen.prompt()
        while (line := await self._keyboard.line()) is not None:
            self._screen.typed(line, echoed=self._keyboard.echoes)
            for payload in await asyncio.to_thread(self._understand, line.strip()):
                self._count += 1
                await accept(RawUpdate(f"terminal:{self._run}:{self._count}", payload))
        self._shown_at = time.monotonic()
        if not self._keyboard.echoes:
            await self._quiet()

    def translate(self, payload: dict[str, Any]) -> Incoming | None:
        """See `Platform`."""
        event = _event(payload)
        return Incoming(person=PERSON, place=PLACE, event=event) if event else None

    async def send(self, items: Sequence[Outgoing]) -> list[Receipt]:
        """Show each item; a picture is saved and its path shown."""
        return [await self._send(item) for item in items]

    async def fetch(self, file: FileRef, max_bytes: int) -> bytes:
        """Read a photo from where the person said it is."""
        return await asyncio.to_thread(_read, Path(file.handle["path"]), max_bytes)

    async def close(self) -> None:
        """Leave the terminal as it was."""
        self._screen.leave()

    async def _quiet(self) -> None:
        while (left := self._shown_at + _QUIET_SECONDS - time.monotonic()) > 0:  # noqa: ASYNC110  it moves on
            await asyncio.sleep(left)

    def number(self, action: str, argument: str = "") -> int:
        """The number to type for a button."""
        return self._buttons.setdefault((action, argument), len(self._buttons) + 1)

    async def _send(self, item: Outgoing) -> Receipt:
        paths = [await asyncio.to_thread(_save, self._out_dir, each) for each in item.attachments]
        rows = (
            "   ".join(f"[{self.number(button.action, button.argument)}] {button.label}" for button in row)
            for row in item.buttons
        )
        parts = [item.text, *(f"🖼  {path}" for path in paths), *rows]
        name = item.edit or item.nonce
        self._screen.show(name, "\n".join(part for part in parts if part))
        self._shown_at = time.monotonic()
        if self._watch:
            self._watch(item, paths)
        return Receipt(message=name)

    def _understand(self, line: str) -> list[dict[str, Any]]:
        """What a line means, as the updates to store."""
        try:
            return list(self._payloads(line))
        except OSError as error:
            self._screen.note(f"{error.filename} cannot be read ({error.strerror}).")
            return []

    def _payloads(self, line: str) -> Iterator[dict[str, Any]]:
        command = re.fullmatch(r"/([A-Za-z_]+)(?:\s+(.*))?", line, re.DOTALL)
        if not line:
            return
        if command and (command[1].lower() in self._commands or not Path(line).exists()):
            yield {"command": command[1].lower(), "argument": (command[2] or "").strip()}
        elif line.isdecimal() and int(line) in self._buttons.values():
            yield self._pressed(int(line))
        elif (paths := _paths(line)) is None:
            yield {"text": line}
        elif not paths:
            self._screen.note(f"There is no photo at {line}.")
        else:
            yield from _files(paths)

    def _pressed(self, number: int) -> dict[str, Any]:
        action, argument = next(key for key, value in self._buttons.items() if value == number)
        return {"action": action, "argument": argument}


def _event(payload: dict[str, Any]) -> Event | None:
    match payload:
        case {"command": "start", "argument": argument}:
            return Started(argument)
        case {"command": name, "argument": argument}:
            return Command(name, argument)
        case {"action": action, "argument": argument}:
            return Choice(action, argument)
        case {"photos": photos}:
            return PhotosSent(tuple(FileRef(**photo) for photo in photos))
        case {"other": what}:
            return OtherSent(what)
        case {"text": text}:
            return Text(text)
    return None


def _paths(line: str) -> list[Path] | None:
    """The files that a line names, in order; None if it names no file at all but says something."""
    try:
        words = shlex.split(line)
    except ValueError:  # an apostrophe in plain words
        words = [line]
    for candidates in ([line], words):
        found = [_named(word) for word in candidates]
        if all(paths is not None for paths in found):
            return [path for paths in found for path in paths or ()]
    looks_like_path = all(
        word.startswith(("/", "./", "../", "~/")) or Path(word).suffix.lower() in PHOTO_SUFFIXES
        for word in words
    )
    return [] if looks_like_path else None


def _named(word: str) -> list[Path] | None:
    path = Path(word).expanduser()
    if path.is_dir():
        return sorted(each for each in path.iterdir() if each.suffix.lower() in PHOTO_SUFFIXES)
    if path.is_file():
        return [path]
    matches = sorted(glob.glob(str(path))) if set("*?[") & set(word) else []  # noqa: PTH207  Path.glob: no absolute ones
    return [Path(match) for match in matches if Path(match).is_file()] or None


def _files(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    photos = [path for path in paths if path.suffix.lower() in PHOTO_SUFFIXES]
    if photos:
        yield {"photos": [_reference(path) for path in photos]}
    for path in paths:
        if path not in photos:
            yield {"other": _OTHER.get(path.suffix.lower(), "file")}


def _reference(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "unique_id": digest,
        "handle": {"path": str(path.absolute())},
        "size_bytes": path.stat().st_size,
        "name": path.name,
    }


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise FetchImpossible("gone") from error
    if len(data) > max_bytes:
        raise FetchImpossible("too_large")
    return data


def _save(folder: Path, attachment: Attachment) -> Path:
    """Write a picture under its name; the same bytes are written once, other bytes never over old ones."""
    folder.mkdir(parents=True, exist_ok=True)
    name = Path(attachment.name).name or "picture"
    path, count = folder / name, 1
    while path.exists() and path.read_bytes() != attachment.data:
        count += 1
        path = folder / f"{Path(name).stem}-{count}{Path(name).suffix}"
    path.write_bytes(attachment.data)
    return path
