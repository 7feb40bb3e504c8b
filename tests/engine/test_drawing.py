"""Which photo comes next."""

from collections import Counter

import pytest
import torch

from engine.drawing import draw_index, draw_round

KEYS = ["a", "b", "c", "d", "e"]


def test_equal_weights_give_each_photo_once_a_round() -> None:
    generator = torch.Generator().manual_seed(1)
    rounds = [draw_round(KEYS, {}, generator) for _ in range(20)]
    assert all(sorted(drawn) == KEYS for drawn in rounds)
    assert len({tuple(drawn) for drawn in rounds}) > 10


def test_a_photo_comes_as_often_as_its_weight_says() -> None:
    generator = torch.Generator().manual_seed(2)
    weights = {"a": 2.0, "b": 0.5, "c": 0.5, "d": 1.0, "e": 1.0}
    rounds = [draw_round(KEYS, weights, generator) for _ in range(2000)]
    assert all(len(drawn) == 5 for drawn in rounds)
    assert {drawn.count("a") for drawn in rounds} == {2}
    assert {drawn.count("b") for drawn in rounds} == {0, 1}
    seen = Counter(key for drawn in rounds for key in drawn)
    for key in KEYS:
        assert seen[key] / len(rounds) == pytest.approx(weights[key], abs=0.06)


def test_an_index_comes_as_often_as_its_share() -> None:
    generator = torch.Generator().manual_seed(3)
    seen = Counter(draw_index([1.0, 0.0, 3.0], generator) for _ in range(4000))
    assert set(seen) == {0, 2}
    assert seen[2] / 4000 == pytest.approx(0.75, abs=0.03)


def test_the_same_generator_draws_the_same() -> None:
    first, second = (torch.Generator().manual_seed(4) for _ in range(2))
    assert draw_round(KEYS, {"a": 1.7}, first) == draw_round(KEYS, {"a": 1.7}, second)
