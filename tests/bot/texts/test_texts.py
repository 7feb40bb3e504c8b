"""Texts as a whole: keys, people's own words inside them, lengths."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.texts import CONSENT_VERSION, KEYS, TEXT_MAX, label, render
from bot.texts.cards import CARDS
from bot.texts.labels import LABELS
from bot.texts.sentences import SENTENCES


def test_a_key_means_one_text() -> None:
    assert set(CARDS) & set(SENTENCES) == set()
    assert set(CARDS) | set(SENTENCES) == KEYS
    assert CONSENT_VERSION >= 1


def test_an_unknown_key_or_a_missing_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        render("no such key", {})
    with pytest.raises(KeyError):
        render("style_unknown", {})


def test_the_language_may_be_anything() -> None:
    assert render("nothing_running", {}, "pt-BR") == render("nothing_running", {})


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_what_people_wrote_is_never_a_format_string_and_keeps_its_direction_to_itself(typed: str) -> None:
    text = render("style_unknown", {"typed": typed})
    before, quoted, after = text.replace("\u2069", "\u2068").split("\u2068")
    assert (before, after) == ("I do not know the style ", ". Did you mean one of these?")
    assert len(quoted) <= 61
    assert not set(quoted) & set("\n\r\t\x00\u202a\u202b\u202c\u202d\u202e\u2066\u2067")
    quoted.encode()


def test_a_text_that_grew_too_long_is_cut_for_every_platform() -> None:
    values = {"groups": [["studio", [["x", "y" * 5000]]]], "last": False}
    text = render("styles", values)
    assert len(text) == TEXT_MAX
    assert text.endswith("…")


def test_labels_are_short() -> None:
    for key in LABELS:
        assert 0 < len(label(key, count=25, number=25, wish="w", label="l")) <= 40
