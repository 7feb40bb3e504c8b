"""What a chat looks like in a terminal: messages below each other, cards redrawn in place where that works.

On a terminal a card that is still in view is drawn over; anywhere else (a file, a pipe, a card that scrolled
away) only its changed lines are written again. Knows no chat, only blocks of lines.
"""

import shutil
import textwrap
from dataclasses import dataclass
from typing import TextIO

BAR = "┃ "
PROMPT = "› "
_DIM, _RESET = "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True)
class _Block:
    lines: tuple[str, ...]
    top: int  # rows written before it


class Screen:
    """Writes blocks to a stream. `live`: the stream is a terminal that understands cursor movements."""

    def __init__(self, stream: TextIO, *, live: bool) -> None:
        self._stream, self._live = stream, live
        self._rows = 0  # rows written so far, the line of the prompt not counted
        self._blocks: dict[str, _Block] = {}

    def show(self, name: str, text: str) -> None:
        """Write a block, or bring the block of that name up to date."""
        size = shutil.get_terminal_size()
        lines = tuple(_wrapped(text, size.columns if self._live else 110))
        old = self._blocks.get(name)
        if old and old.lines == lines:
            return
        if old and self._live and self._within_reach(old, lines, size.lines):
            self._redraw(old, lines)
            self._blocks[name] = _Block(lines, old.top)
            return
        fresh = lines
        if old and not self._live:
            fresh = tuple(line for line in lines if line not in old.lines) or lines[-1:]
        self._blocks[name] = _Block(lines, self._rows)
        self._append(fresh)

    def note(self, text: str) -> None:
        """A remark of the program itself, not of the chat."""
        lines = text.splitlines() or [""]
        self._append([f"{_DIM}{line}{_RESET}" if self._live else line for line in lines], bar="")

    def typed(self, line: str, *, echoed: bool) -> None:
        """The person sent a line; `echoed`: the terminal has shown it already."""
        if echoed:
            self._rows += 1
        else:
            self._append([line], bar=PROMPT)
        self.prompt()

    def prompt(self) -> None:
        """Invite the person to type, once a line."""
        if self._live:
            self._stream.write(f"\r\x1b[K{PROMPT}")
            self._stream.flush()

    def leave(self) -> None:
        """Take the prompt away at the end."""
        if self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _within_reach(self, old: _Block, lines: tuple[str, ...], height: int) -> bool:
        return len(old.lines) == len(lines) and self._rows - old.top < height - 1

    def _redraw(self, old: _Block, lines: tuple[str, ...]) -> None:
        # Save the cursor, go up to the block, write over it, come back: what is being typed stays untouched.
        up = self._rows - old.top
        drawn = "".join(f"\r\x1b[K{BAR}{line}\n" for line in lines)
        self._stream.write(f"\x1b7\x1b[{up}A{drawn}\x1b8")
        self._stream.flush()

    def _append(self, lines: tuple[str, ...] | list[str], bar: str = BAR) -> None:
        start = "\r\x1b[K" if self._live else ""
        self._stream.write(start + "".join(f"{bar}{line}\n" for line in lines))
        self._rows += len(lines)
        self.prompt()
        self._stream.flush()


def _wrapped(text: str, columns: int) -> list[str]:
    # Emoji are two columns wide, so leave a margin rather than count on one column a character.
    width = max(20, columns - len(BAR) - 6)
    lines = []
    for paragraph in text.splitlines():
        lines += textwrap.wrap(paragraph, width, subsequent_indent=_indent(paragraph)) or [""]
    return lines


def _indent(paragraph: str) -> str:
    return "  " if paragraph[:1] in "-•*" else ""
