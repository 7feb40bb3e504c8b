"""A terminal is drawn over where that works, and appended to where not."""

import io
import re

import pytest

from bot.platforms.screen import Screen


def visible(written: str, height: int = 40) -> list[str]:
    """What a terminal shows after this was written to it: the few sequences that Screen uses, played."""
    rows, row, saved = [""], 0, 0
    column = 0
    for part in re.findall(r"\x1b7|\x1b8|\x1b\[\d*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if part == "\x1b7":
            saved = row
        elif part == "\x1b8":
            row, column = saved, len(rows[saved])
        elif part.endswith("A") and part.startswith("\x1b["):
            row = max(0, row - int(part[2:-1]))
        elif part == "\x1b[K":
            rows[row] = rows[row][:column]
        elif part.startswith("\x1b["):
            continue
        elif part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        else:
            rows[row] = rows[row][:column] + part + rows[row][column + len(part) :]
            column += len(part)
    return rows


@pytest.fixture(autouse=True)
def size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")


def test_a_card_in_view_is_drawn_over_and_what_stands_below_stays() -> None:
    stream = io.StringIO()
    screen = Screen(stream, live=True)
    screen.show("card", "training\n10 %")
    screen.show("message", "hello")
    screen.show("card", "training\n20 %")
    assert visible(stream.getvalue()) == ["┃ training", "┃ 20 %", "┃ hello", "› "]


def test_a_card_that_scrolled_away_is_written_again() -> None:
    stream = io.StringIO()
    screen = Screen(stream, live=True)
    screen.show("card", "10 %")
    for number in range(30):
        screen.show(f"message {number}", "hello")
    screen.show("card", "20 %")
    assert visible(stream.getvalue())[-2:] == ["┃ 20 %", "› "]


def test_a_card_that_grew_is_written_again() -> None:
    stream = io.StringIO()
    screen = Screen(stream, live=True)
    screen.show("card", "one")
    screen.show("card", "one\ntwo")
    assert visible(stream.getvalue()) == ["┃ one", "┃ one", "┃ two", "› "]


def test_a_pipe_gets_only_the_changed_lines_and_no_control_characters() -> None:
    stream = io.StringIO()
    screen = Screen(stream, live=False)
    screen.show("card", "selfies\n1 looking")
    screen.show("card", "selfies\n1 good")
    screen.show("card", "selfies\n1 good")
    screen.typed("/start", echoed=False)
    assert stream.getvalue() == "┃ selfies\n┃ 1 looking\n┃ 1 good\n› /start\n"


def test_long_lines_wrap_within_the_terminal() -> None:
    stream = io.StringIO()
    Screen(stream, live=True).show("message", "word " * 100)
    rows = visible(stream.getvalue())
    assert len(rows) > 5
    assert max(len(row) for row in rows) <= 80
