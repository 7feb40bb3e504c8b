"""Which selfies are used, and which are held out to measure the training by."""

import random
from pathlib import Path

import pytest
from PIL import Image

from engine.photo_facts import Problem
from engine.selfies import Selfie, split_selfies, usable_selfies
from tests.engine.facts import facts


def selfies(count: int, **changes) -> list[Selfie]:
    return [Selfie(f"p{i:02}", Path(f"p{i:02}.jpg"), facts(0, i, **changes)) for i in range(count)]


def test_each_photo_is_used_once_in_a_stable_order_and_only_if_it_is_there(tmp_path: Path) -> None:
    for name in ("b", "a"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    paths = [str(tmp_path / f"{name}.png") for name in ("b", "gone", "a", "b")]
    found = usable_selfies(paths, {"a": facts(0, 1).to_json(), "b": {"box": "?"}})
    assert [selfie.key for selfie in found] == ["a", "b"]
    assert found[0].facts == facts(0, 1)
    assert found[1].facts is None


@pytest.mark.parametrize(
    ("count", "held"), [(0, 0), (3, 0), (5, 0), (6, 1), (7, 1), (8, 2), (14, 2), (15, 3), (25, 3)]
)
def test_few_are_held_out_and_none_of_few(count: int, held: int) -> None:
    split = split_selfies(selfies(count))
    assert len(split.held_out) == held
    assert sorted(s.key for s in (*split.training, *split.held_out)) == [s.key for s in selfies(count)]


def test_the_split_does_not_depend_on_the_order() -> None:
    mixed = selfies(15)
    random.Random(1).shuffle(mixed)
    assert {s.key for s in split_selfies(mixed).held_out} == {
        s.key for s in split_selfies(selfies(15)).held_out
    }


def test_a_photo_with_a_problem_or_without_facts_is_never_held_out() -> None:
    odd = [Selfie(s.key, s.path, None) for s in selfies(4)]
    blurred = selfies(9, problems=(Problem.BLURRED,))[4:]
    good = [Selfie(f"z{i}", Path(f"z{i}.jpg"), facts(0, 90 + i)) for i in range(6)]
    held = split_selfies([*odd, *blurred, *good]).held_out
    assert len(held) == 3
    assert all(selfie.key.startswith("z") for selfie in held)
    assert split_selfies([*odd, *blurred]).held_out == ()


def test_those_held_out_differ_in_pose_and_light() -> None:
    same = selfies(12, yaw_degrees=0.0, brightness=150.0)
    turned = Selfie("turned", Path("turned.jpg"), facts(0, 50, yaw_degrees=25.0, brightness=150.0))
    dark = Selfie("dark", Path("dark.jpg"), facts(0, 51, yaw_degrees=0.0, brightness=90.0))
    keys = {selfie.key for selfie in split_selfies([*same, turned, dark, *selfies(3)[:1]]).held_out}
    assert {"turned", "dark"} <= keys


def test_the_first_held_out_is_no_outlier() -> None:
    photos = [*selfies(8), Selfie("other", Path("other.jpg"), facts(1, 7))]
    assert split_selfies(photos).held_out[0].key != "other"
