"""How often each selfie is seen."""

from pathlib import Path

import pytest

from engine.photo_facts import Problem
from engine.photo_weights import ENOUGH_SHARPNESS, LEAST, photo_weights, quality
from engine.selfies import Selfie
from tests.engine.facts import facts


def selfie(key: str, shot: int, **changes) -> Selfie:
    return Selfie(key, Path(key), facts(0, shot, **changes))


def test_a_rare_pose_is_seen_more_often() -> None:
    alike = [selfie(f"front{i}", i, sharpness=1.0) for i in range(8)]
    weights = photo_weights([*alike, selfie("side", 9, sharpness=1.0, yaw_degrees=30.0)])
    assert weights["side"] > 1.5 * weights["front0"]
    assert sum(weights.values()) == pytest.approx(len(weights))


def test_a_better_photo_is_seen_more_often_but_none_is_left_out() -> None:
    sharp = facts(0, 1, sharpness=ENOUGH_SHARPNESS)
    assert quality(sharp) == 1.0
    assert LEAST < quality(facts(0, 1, sharpness=ENOUGH_SHARPNESS / 2)) < 1.0
    assert quality(facts(0, 1, sharpness=0.0)) == LEAST
    doubtful = facts(0, 1, sharpness=ENOUGH_SHARPNESS, problems=(next(iter(Problem)),))
    assert LEAST < quality(doubtful) < 1.0


def test_a_photo_of_which_nothing_is_known_is_still_seen() -> None:
    weights = photo_weights([selfie("a", 1), selfie("b", 2), Selfie("c", Path("c"), None)])
    assert 0 < weights["c"] <= min(weights["a"], weights["b"])
    assert photo_weights([]) == {}
