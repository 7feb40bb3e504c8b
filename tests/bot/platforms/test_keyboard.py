"""Lines come from any kind of standard input, and end."""

import os
import pty

from bot.platforms.keyboard import RealKeyboard, ScriptedKeyboard


async def lines_of(keyboard: RealKeyboard) -> list[str]:
    found = []
    while (line := await keyboard.line()) is not None:
        found.append(line)
    return found


async def test_a_pipe_gives_its_lines_and_the_unfinished_last_one() -> None:
    reader, writer = os.pipe()
    os.write(writer, "/start\r\nschöne Grüße 🎉\nlast".encode())
    os.close(writer)
    keyboard = RealKeyboard(reader)
    assert not keyboard.echoes
    assert await lines_of(keyboard) == ["/start", "schöne Grüße 🎉", "last"]
    os.close(reader)


async def test_a_terminal_echoes_and_a_closed_one_ends_the_lines() -> None:
    master, slave = pty.openpty()
    keyboard = RealKeyboard(slave)
    assert keyboard.echoes
    os.write(master, b"/help\n")
    assert await keyboard.line() == "/help"
    os.write(master, b"\x04")  # Ctrl-D
    assert await keyboard.line() is None
    os.close(master)
    os.close(slave)


async def test_a_script_types_and_leaves() -> None:
    keyboard = ScriptedKeyboard()
    keyboard.type("/start")
    keyboard.leave()
    assert [await keyboard.line(), await keyboard.line()] == ["/start", None]
