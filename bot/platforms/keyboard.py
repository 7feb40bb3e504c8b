"""Where a terminal chat's lines come from: a person at a keyboard, or a script that plays one."""

import asyncio
import os
import threading
from typing import Protocol


class Keyboard(Protocol):
    """Lines of a person, in order."""

    @property
    def echoes(self) -> bool:
        """Whether what is typed is on the screen already."""

    async def line(self) -> str | None:
        """The next line without its end; None when there will be no more."""


class RealKeyboard:
    """Standard input: a terminal, a pipe or a file.

    A thread of its own reads the file descriptor: it works on every kind of file, leaves the terminal's modes
    alone, and does not hold up the end of the program.
    """

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._started = False

    @property
    def echoes(self) -> bool:
        """A terminal shows what is typed; a pipe does not."""
        return os.isatty(self._descriptor)

    async def line(self) -> str | None:
        """See `Keyboard`."""
        if not self._started:
            self._started = True
            reader = threading.Thread(target=self._read, args=(asyncio.get_running_loop(),), daemon=True)
            reader.start()
        return await self._lines.get()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        rest = b""
        while data := self._chunk():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._put(loop, line.decode(errors="replace").rstrip("\r"))
        if rest:
            self._put(loop, rest.decode(errors="replace"))
        self._put(loop, None)

    def _chunk(self) -> bytes:
        try:
            return os.read(self._descriptor, 65536)
        except OSError:  # the terminal is gone
            return b""

    def _put(self, loop: asyncio.AbstractEventLoop, line: str | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._lines.put_nowait, line)


class ScriptedKeyboard:
    """Lines that a program types."""

    echoes = False

    def __init__(self) -> None:
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        self._lines.put_nowait(line)

    def leave(self) -> None:
        """Walk away from the keyboard."""
        self._lines.put_nowait(None)

    async def line(self) -> str | None:
        """See `Keyboard`."""
        return await self._lines.get()
