"""The selfie card, for what it says at each stage."""

from typing import Any

import pytest

from bot.texts.selfies import intake


def card(*selfies: tuple[int, str, str], **changed: Any) -> str:
    values = {
        "selfies": selfies,
        **{"min": 8, "wanted": 15, "max": 25, "max_mib": 20},
        **{"training": False, "for_next": False, "extra": 0, "too_large": 0, "repeated": 0},
    }
    return intake(values | changed)


def good(count: int) -> list[tuple[int, str, str]]:
    return [(number, "good", "") for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("count", "head", "end"),
    [
        (3, "3 of 15 good", "at least 5 more"),
        (8, "8 of 15 good", "You can train now. 7 more would make it better"),
        (15, "15 of 15 good", "That is all I need. You can train now."),
        (20, "20 of 20 good", "That is all I need. You can train now."),
        (25, "25 of 25 good", "as many as I take. You can train now."),
    ],
)
def test_what_is_missing(count: int, head: str, end: str) -> None:
    text = card(*good(count))
    assert text.startswith(f"Your selfies: {head}")
    assert end in text


def test_same_problems_share_a_line_and_doubtful_ones_come_first() -> None:
    text = card((1, "refused", "no_face"), (2, "doubtful", "blurred"), (3, "refused", "no_face"))
    assert "❌ 1, 3: I see no face" in text
    assert text.index("🟡 2") < text.index("❌")
    assert "use a doubtful one anyway" in text


def test_what_is_being_looked_at() -> None:
    assert "⏳ 1: I am looking at it" in card((1, "pending", ""))
    assert "⏳ 1, 2: I am looking at them" in card((1, "pending", ""), (2, "pending", ""))


def test_a_problem_nobody_knows_still_says_something() -> None:
    assert "❌ 1: not usable. Please send another one." in card((1, "refused", "new_in_this_release"))


def test_while_a_training_runs_the_photos_are_for_the_next_one() -> None:
    assert "for the next one" in card(*good(9), training=True, for_next=True)
    assert card(*good(9), training=True).endswith("A training was started from the good ones.")


def test_what_was_not_taken_is_said() -> None:
    text = card(*good(25), extra=15, too_large=2, repeated=1)
    assert "15 photos left out" in text
    assert "2 photos came as files over 20 MB: send smaller copies" in text
    assert "1 photo came a second time" in text
