"""The grammar: what people type becomes a wish, and what is not understood is said and goes nowhere."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.style_requests import MAX_SEED, MAX_TYPED, StyleRequest, UnknownStyle, fold, phrase, tokens
from bot.styles import Catalogue

STYLES = Catalogue.load()


def parse(typed: str) -> StyleRequest:
    request = STYLES.parse(typed)
    assert isinstance(request, StyleRequest), request
    return request


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("linkedin style", "linkedin"),
        ("LinkedIn", "linkedin"),
        ("Linked-In!!!", "linkedin"),
        ("a headshot in linkedin style please", "linkedin"),
        ("CAFÉ", "cafe"),
        ("B&W", "bw"),
        ("studio black & white", "bw"),
        ("corporate, no tie, smile", "corporate, no tie, smile"),
        ("corporate no tie smile", "corporate, no tie, smile"),
        ("smile; no tie; corporate", "corporate, no tie, smile"),
        ("4 outdoor", "outdoor, 4"),
        ("outdoors x6", "outdoor, 6"),
        ("three photos of me in the library", "academic, 3"),
        ("linkedin seed 42", "linkedin, seed 42"),
        ("linkedin seed=42, 2", "linkedin, 2, seed 42"),
        ("", ""),
        ("   ", ""),
        ("smile", "smile"),
        ("linkedin outdoor", "linkedin, park background"),
        ("light gray suits, outdoor", "outdoor, light grey suit"),
        ("grey background, office", "office, grey background"),
        ("white coat", "medical"),
        ("linkedin, white coat", "linkedin, white coat"),
    ],
)
def test_what_people_type(typed: str, text: str) -> None:
    assert parse(typed).text == text


@pytest.mark.parametrize(
    ("typed", "unknown"),
    [
        ("linkedin with a dragon", ("dragon",)),
        ("linkedin 🐉 and Hotel del Mar", ("🐉", "Hotel", "del", "Mar")),
        ("corporate linkedin", ("linkedin",)),
        ("linkedin 0", ("0",)),
        ("linkedin 2024", ("2024",)),
        (f"linkedin seed {MAX_SEED + 1}", ("seed", str(MAX_SEED + 1))),
    ],
)
def test_what_is_not_understood_is_reported(typed: str, unknown: tuple[str, ...]) -> None:
    request = parse(typed)
    assert request.style in ("linkedin", "corporate")
    assert set(request.unknown) == set(unknown)


def test_a_second_style_is_not_silently_dropped() -> None:
    assert parse("corporate linkedin").unknown == ("linkedin",)


@pytest.mark.parametrize("typed", ["nude linkedin", "linkedin, NAKED", "sexy", "me as a child", "with a gun"])
def test_unsafe_words_are_found(typed: str) -> None:
    assert parse(typed).unsafe


def test_only_words_nobody_knows_are_an_unknown_style() -> None:
    assert isinstance(STYLES.parse("dragon"), UnknownStyle)
    assert isinstance(STYLES.parse("smile dragon"), UnknownStyle)


def test_long_input_is_cut_and_that_is_said() -> None:
    request = parse("linkedin " + "smile " * 10_000)
    assert request.style == "linkedin"
    assert "…" in request.unknown


def test_words_are_compared_without_case_accents_and_plurals() -> None:
    assert fold("Cafés") == "cafe"
    assert fold("business") == "business"
    assert phrase("Black & White") == phrase("black and white")
    assert tokens("a\u200d, ؟ -") == tokens("a")
    assert len(tokens("x" * 10_000)) == 1
    assert len(tokens("x " * 10_000)) == MAX_TYPED / 2


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_anything_can_be_typed(typed: str) -> None:
    STYLES.parse(typed)


words = st.lists(
    st.sampled_from(
        [
            *(
                "linkedin",
                "corporate",
                "bw",
                "brand",
                "office",
                "no tie",
                "navy suit",
                "red background",
                "tie",
            ),
            *("library", "smile", "serious", "close up", "glasses", "no glasses", "retouch", "6", "seed 9"),
            *(
                "roll neck",
                "sunset",
                "white outfit",
                "glasses as in photos",
                "#ff0000",
                "outdoor",
                "t-shirts",
            ),
        ]
    ),
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(words)
def test_a_wish_can_be_said_back(said: list[str]) -> None:
    """The text of a wish stands on buttons and in memory: it must mean the same wish again."""
    request = parse(", ".join(said))
    known = StyleRequest(**(vars(request) | {"unknown": (), "unsafe": ()}))
    assert parse(known.text) == known
