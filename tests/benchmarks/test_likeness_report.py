"""The likeness benchmark's tables say what was measured, and count a missing face as a miss."""

from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks.likeness import Outcome, find, recipes
from benchmarks.likeness_report import misses, report
from engine.base_folder import BaseSettings

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


def ran(person: str, variant: str, delivered: float, first: float = 0.5, last: float = 0.5) -> Outcome:
    shots: dict[str, list[float | None]] = {
        "chosen, first 4": [first, None],
        "chosen, best 4 of 8": [delivered, delivered],
        "last, first 4": [0.2, 0.2],
        "last, best 4 of 8": [last, last],
    }
    return Outcome(person, "light", "balanced", variant, shots=shots)


def test_a_default_is_worth_what_its_people_lose_without_it() -> None:
    """By hand: .60 and .50 less .50 and .46 are .10 and .04: .070 +- .030; cy has no default to be held
    against."""
    outcomes = [
        ran("ann", "default", 0.6, last=0.62),
        ran("bob", "default", 0.5),
        ran("ann", "no-mask", 0.5),
        ran("bob", "no-mask", 0.46),
        ran("cy", "no-mask", 0.3),
    ]
    lines = report(outcomes, [], "today").splitlines()
    assert "| default | 0.550 | 0.0% | 0.250 | 50.0% |  | 2 |" in lines
    assert "| no-mask | 0.420 | 33.3% | 0.250 | 50.0% | 0.070 ± 0.030 | 3 |" in lines
    assert "| no ranking (first 4) | 0.250 | 50.0% |  |  | 0.300 ± 0.050 | 2 |" in lines
    assert (
        "| no choice of checkpoint (last, best 4) | 0.560 | 0.0% | 0.200 | 100.0% | -0.010 ± 0.010 | 2 |"
        in lines
    )


def test_each_preset_has_its_own_table_and_one_person_no_error() -> None:
    outcomes = [ran("ann", "default", 0.6), ran("ann", "no-mask", 0.5)]
    fast = Outcome("ann", "light", "fast", "default", shots=outcomes[0].shots)
    lines = report([*outcomes, fast], [], "today").splitlines()
    begins = [index for index, line in enumerate(lines) if "| delivered |" in line]
    assert [lines[index].split(" |")[0] for index in begins] == ["| balanced", "| fast"]
    tables = [lines[index + 2 : lines.index("", index)] for index in begins]
    assert [row.split(" |")[0] for row in tables[0][:3]] == [
        "| default",
        "| no-mask",
        "| no ranking (first 4)",
    ]
    assert tables[0][1] == "| no-mask | 0.500 | 0.0% | 0.250 | 50.0% | 0.100 | 1 |"
    assert len(tables[1]) == 3  # the default and its two rows


def test_the_default_alone_is_held_against_nothing() -> None:
    assert "worth" not in report([ran("ann", "default", 0.6)], [], "today")


def test_a_variant_that_changes_nothing_on_this_base_is_named_instead_of_trained() -> None:
    options = Namespace(presets=["balanced"], variants=["default", "no-crops", "no-mask"], steps=0)
    plan, same = recipes(options, BaseSettings(resolution_px=256))
    assert set(plan) == {("balanced", "default"), ("balanced", "no-mask")}
    text = report([ran("ann", "default", 0.6)], [], "today", same)
    assert "The default's recipe again on this base, so not trained: no-crops." in text
    assert recipes(options, BaseSettings())[1] == []


def test_an_outcome_is_found_in_any_folder_and_made_in_the_first(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    two.mkdir()
    (two / "a.json").write_text("{}")
    assert find("a.json", [one, two]) == two / "a.json"
    assert find("b.json", [one, two]) == one / "b.json"
