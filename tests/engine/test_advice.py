"""Advice: what is missing in the set is named, what is there is not."""

from engine.advice import MOST, advice
from engine.photo_facts import Problem
from tests.engine.facts import facts

TURNS = (-25.0, 25.0)


def good(**changes) -> list:
    return [facts(0, shot, yaw_degrees=TURNS[shot % 2], **changes) for shot in range(12)]


def test_nothing_is_missing_in_a_good_set() -> None:
    assert advice(good()) == ()
    assert advice([]) == ()


def test_each_lack_is_named() -> None:
    assert advice(good(brightness=80.0)) == ("daylight",)
    assert advice(good(problems=(Problem.TOO_BRIGHT,))) == ("daylight",)
    assert advice(good(problems=(Problem.FACE_UNCLEAR,))) == ("uncovered",)
    assert advice(good(sharpness=0.005)) == ("sharper",)
    assert advice(good(box=(0.0, 0.0, 150.0, 200.0))) == ("closer",)
    assert advice(good(embedding=facts(0, 0).embedding)) == ("other_days",)
    assert advice(good()[:6]) == ("more",)


def test_a_missing_side_is_named() -> None:
    assert advice([facts(0, shot, yaw_degrees=20.0) for shot in range(12)]) == ("from_left",)
    assert advice([facts(0, shot, yaw_degrees=-20.0) for shot in range(12)]) == ("from_right",)
    assert advice([facts(0, shot, yaw_degrees=0.0) for shot in range(12)]) == ("from_left", "from_right")


def test_a_few_bad_photos_are_no_lack() -> None:
    assert advice([*good(), *(facts(0, 20 + n, brightness=60.0) for n in range(3))]) == ()


def test_it_is_short() -> None:
    poor = [facts(0, shot, yaw_degrees=0.0, brightness=50.0, sharpness=0.001) for shot in range(4)]
    assert advice(poor) == ("daylight", "sharper", "from_left")
    assert len(advice(poor)) == MOST
