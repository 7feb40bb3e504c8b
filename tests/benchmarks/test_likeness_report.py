"""The likeness benchmark's tables say what was measured, and count a missing face as a miss."""

import pytest

from benchmarks.likeness import Outcome
from benchmarks.likeness_report import misses, report

POINTS = [
    {"step": 0, "likeness": 0.02, "copies": 0},
    {"step": 50, "likeness": 0.55, "copies": 0},
    {"step": 100, "likeness": 0.6, "copies": 1},
]


def outcome(person: str, tone: str, best: list[float | None]) -> Outcome:
    shots = {"last, first 4": [0.1, 0.5, 0.3, 0.6], "chosen, best 4 of 8": best}
    return Outcome(person, tone, "fast", "default", 9.0, 0.76, 50, "good", POINTS, shots)


def test_a_picture_without_a_face_misses_the_aim() -> None:
    assert misses([0.5, None, 0.39, 0.4]) == 0.5


def test_the_tables_hold_every_person_checkpoint_and_group() -> None:
    ann, bob = (
        outcome("ann", "light", [0.5] * 4),
        outcome("bob", "brown", [0.5, 0.5, 0.5, None]),
    )
    text = report([ann, bob], [0.1, 0.2], "today")
    assert "| ann | fast | default | 0.76 | 0.02 | 0.38 | 0.50 | 50 of 100 | good |" in text
    assert "- bob, fast, default: 0: 0.02, 50: 0.55*, 100: 0.60 copies" in text
    assert "| fast | default | 50% | 12% |" in text
    assert "| brown | 1 | 50% | 25% |" in text
    assert "| light | 1 | 50% | 0% |" in text
    assert "median 0.15" in text


@pytest.mark.parametrize("outcomes", [[], [outcome("ann", "light", [])]])
def test_little_or_nothing_measured_is_no_error(outcomes: list[Outcome]) -> None:
    assert "one person alone has none" in report(outcomes, [], "today")
