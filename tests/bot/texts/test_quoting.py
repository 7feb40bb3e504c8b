"""People's words made safe, and numbers as people say them."""

import pytest

from bot.texts.quoting import day, duration, hours, lines, listing, numbers, plural, quote


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("hello", "hello"),
        ("  two\n\nlines\t", "two lines"),
        ("שלום", "שלום"),
        ("a\u202eb\u2066c\u2069\u2068d", "abcd"),
        ("👩‍🔬🏽", "👩‍🔬🏽"),
        ("a\ud800b\x00", "ab"),
        ("", "…"),
        ("\u200b\n", "…"),
        ("{0} %s {typed}", "{0} %s {typed}"),
    ],
)
def test_quote(text: str, quoted: str) -> None:
    assert quote(text) == f"\u2068{quoted}\u2069"


def test_a_long_quote_is_cut_but_not_through_an_emoji_or_an_accent() -> None:
    assert quote("x" * 500) == "\u2068" + "x" * 60 + "…\u2069"
    family = "👨\u200d👩\u200d👧"
    cut = quote("x" * 58 + family)[1:-2]
    assert cut == "x" * 58
    assert quote("x" * 59 + "e\u0301")[1:-2] == "x" * 59


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "less than a minute"),
        (44, "less than a minute"),
        (50, "about 1 minute"),
        (380, "about 6 minutes"),
        (5000, "about 83 minutes"),
        (5500, "about 2 hours"),
        (86400, "about 24 hours"),
    ],
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_numbers_lists_and_dates() -> None:
    assert numbers([]) == ""
    assert numbers([3, 1, 2, 5, 7, 8]) == "1-3, 5, 7, 8"
    assert listing([]) == ""
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert plural(1, "selfie") == "1 selfie"
    assert plural(0, "selfie") == "0 selfies"
    assert day(0.0) == "1 January 1970"


@pytest.mark.parametrize(
    ("count", "words"), [(1, "1 hour"), (24, "24 hours"), (48, "48 hours"), (72, "3 days"), (50, "50 hours")]
)
def test_hours_are_said_as_people_say_them(count: int, words: str) -> None:
    assert hours(count) == words


def test_lines_leave_no_holes() -> None:
    assert lines("a", None, "", "b", None) == "a\n\nb"
    assert lines("a", "", None) == "a"
