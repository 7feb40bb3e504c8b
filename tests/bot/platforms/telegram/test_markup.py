"""Texts, buttons and pictures within Telegram's limits. No network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.conversation.types import Button
from bot.errors import SendImpossible
from bot.platforms.base import Attachment
from bot.platforms.telegram import markup


@given(st.text(max_size=300), st.integers(min_value=4, max_value=60))
def test_splitting_loses_nothing_and_keeps_the_limit(text: str, limit: int) -> None:
    parts = list(markup.split(text, limit))
    assert "".join(parts) == text
    assert all(markup.units(part) <= limit for part in parts)


def test_splitting_prefers_lines_then_words_then_anything() -> None:
    assert list(markup.split("one two\nthree four", 12)) == ["one two\n", "three four"]
    assert list(markup.split("one two three four", 12)) == ["one two ", "three four"]
    assert list(markup.split("x" * 25, 10)) == ["x" * 10, "x" * 10, "x" * 5]
    assert list(markup.split("🙂" * 6, 8)) == ["🙂" * 4, "🙂" * 2]  # two units each, never halved


def test_buttons_hold_their_choice_and_links_open_the_private_chat() -> None:
    rows = (
        (Button("Train", "train"), Button("Add photos", "upload")),
        (Button("Open chat", "private", "headshot"),),
        (Button("Add photos", "upload"),),
    )
    made = markup.keyboard(rows, "ABot")
    assert made
    assert [[(b.text, b.callback_data, b.url) for b in row] for row in made.inline_keyboard] == [
        [("Train", "v1:train:", None)],
        [("Open chat", None, "https://t.me/ABot?start=headshot")],
    ]
    assert markup.keyboard(((Button("Add photos", "upload"),),), "ABot") is None
    assert markup.keyboard((), "ABot") is None


def test_long_rows_are_broken() -> None:
    made = markup.keyboard((tuple(Button(str(n), "style", str(n)) for n in range(20)),), "ABot")
    assert made
    assert [len(row) for row in made.inline_keyboard] == [8, 8, 4]


def test_files_by_size() -> None:
    megabyte = 1_000_000
    assert not markup.as_document(Attachment("a.jpg", bytes(9 * megabyte)))
    assert markup.as_document(Attachment("a.jpg", b"x", as_file=True))
    assert markup.as_document(Attachment("a.jpg", bytes(11 * megabyte)))
    with pytest.raises(SendImpossible, match="too_large"):
        markup.as_document(Attachment("a.jpg", bytes(51 * megabyte)))
