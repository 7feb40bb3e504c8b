"""The curve's decisions: the best, when to stop, what does not count, and what looking may cost."""

import json
import random

import pytest

from engine.curve import FORWARDS_A_STEP, MAX_LOOKS, SHARE, Curve, Point, interval


def curve(*likeness: float, contrast: float = 0.5, every: int = 100) -> Curve:
    base = Point(0, 0.02, contrast=contrast)
    looks = (Point(every * n, value, contrast=contrast) for n, value in enumerate(likeness, start=1))
    return Curve((base, *looks))


def test_the_best_is_the_most_alike_and_never_the_base_itself() -> None:
    assert Curve().best is None
    assert Curve((Point(0, 0.9),)).best is None
    assert curve(0.1, 0.5, 0.4).best.step == 200
    assert curve(-0.1).best.step == 100


def test_a_later_state_is_kept_unless_it_is_worse_by_more_than_a_look_errs() -> None:
    assert curve(0.1, 0.5, 0.44).best.step == 300
    assert curve(0.1, 0.5, 0.4399).best.step == 200
    assert curve(0.5, 0.55, 0.46, 0.5, 0.4).best.step == 400
    assert curve(0.1, 0.5, 0.44).peak.step == 200


@pytest.mark.parametrize("seed", range(20))
def test_kept_as_it_comes_it_is_the_same_state_as_in_the_end(seed: int) -> None:
    """A training keeps one state, and asks at each look."""
    values = [random.Random(seed).uniform(0.3, 0.6) for _ in range(11)]
    kept = [n for n in range(1, 12) if curve(*values[:n]).best.step == 100 * n]
    assert 100 * kept[-1] == curve(*values).best.step


def test_a_state_that_copies_or_ignores_its_prompt_comes_last() -> None:
    looks = curve(0.3, 0.2)
    assert looks.with_point(Point(300, 0.9, copies=1, contrast=0.5)).best.step == 100
    assert looks.with_point(Point(300, 0.9, contrast=0.16)).best.step == 100
    assert looks.with_point(Point(300, 0.9, contrast=0.17)).best.step == 300
    only_copies = curve().with_point(Point(100, 0.9, copies=1, contrast=0.5))
    assert only_copies.best.step == 100, "better than nothing"


def test_a_base_that_cannot_follow_the_prompt_is_not_held_to_it() -> None:
    assert (
        not curve(0.5, contrast=0.1)
        .with_point(Point(200, 0.6, contrast=0.0))
        .lost_prompt(Point(200, 0.6, contrast=0.0))
    )


def test_it_stops_when_likeness_has_not_risen_for_three_looks() -> None:
    assert not curve(0.2, 0.5, 0.4, 0.4).should_stop(1000)
    assert curve(0.2, 0.5, 0.4, 0.4, 0.4).should_stop(1000)
    assert not curve(0.2, 0.5, 0.4, 0.6, 0.4).should_stop(1000), "it rose again"


def test_it_stops_neither_early_nor_before_likeness_rose() -> None:
    assert not curve(0.5, 0.4, 0.4, 0.4).should_stop(1100), "less than .4 of the steps"
    assert curve(0.5, 0.4, 0.4, 0.4).should_stop(1000)
    assert not curve(*[0.1] * 9).should_stop(1000), "it never came"


def test_it_comes_back_from_json() -> None:
    looks = curve(0.2).with_point(Point(200, 0.5, (0.4, 0.6), 0.75, 1, 0.3))
    again = Curve.from_json(json.loads(json.dumps(looks.to_json())))
    assert again == looks
    assert again.has(200)
    assert not again.has(150)


@pytest.mark.parametrize(("steps", "batch"), [(1000, 1), (1500, 2), (600, 4), (3000, 4)])
def test_looking_costs_a_bounded_share(steps: int, batch: int) -> None:
    every = interval(steps, batch, pictures=4, picture_steps=11)
    looks = steps / every
    assert looks <= MAX_LOOKS
    assert looks * 4 * 11 <= SHARE * FORWARDS_A_STEP * batch * steps * 1.0001
    assert looks >= 3, "often enough to choose"


def test_a_short_training_is_looked_at_once_at_its_end() -> None:
    assert interval(30, 1, 4, 4) == 30
    assert interval(1, 1, 4, 4) == 1
