"""The second judge's table: whose distances stand where."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.evaluation_people import EvaluationPerson
from benchmarks.likeness import PICTURES
from benchmarks.likeness_report import DEFAULT
from benchmarks.second_judge import FARTHEST, delivered, distance, measured


class ByRed:
    """Tells people apart by how red a picture is; one without red shows nobody."""

    def all(self, paths: list[Path]) -> list[np.ndarray | None]:
        reds = [int(np.asarray(Image.open(path))[0, 0, 0]) for path in paths]
        return [np.array([red / 100]) if red else None for red in reds]


def picture(path: Path, red: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (red, 0, 0)).save(path)
    return str(path)


def person(folder: Path, name: str, *reds: int) -> EvaluationPerson:
    photos = [picture(folder / name / f"{place}.png", red) for place, red in enumerate(reds)]
    return EvaluationPerson(name, (), {}, tuple(photos), (), "light")


def training(folder: Path, name: str, *reds: int, preset: str = "fast", variant: str = DEFAULT) -> None:
    place = folder / "made" / f"{name}-{preset}-{variant}"
    for number, red in enumerate(reds):
        picture(place / PICTURES / f"{number}.png", red)
    said = {"person": name, "preset": preset, "variant": variant}
    place.with_suffix(".json").write_text(json.dumps(said))


def test_own_delivered_and_others_have_their_columns(tmp_path: Path) -> None:
    people = [person(tmp_path, "ada", 100, 120), person(tmp_path, "bob", 200, 220)]
    training(tmp_path, "ada", 110, 130, 0)
    training(tmp_path, "bob", 200)
    _, ada, bob, everybody = measured(ByRed(), people, ["fast"], [tmp_path / "made"])
    assert ada == "| ada | 3 | 0.20 | 100% | 0.20 | 67% | 1.00 | 0% |"
    assert bob == "| bob | 1 | 0.20 | 100% | 0.10 | 100% | 1.00 | 0% |"
    assert everybody.startswith("| all | 4 | 0.20 | 100% |")


def test_whoever_has_no_pictures_is_left_out(tmp_path: Path) -> None:
    people = [person(tmp_path, "ada", 100, 120), person(tmp_path, "bob", 200, 220)]
    assert len(list(measured(ByRed(), people, ["fast"], [tmp_path]))) == 1


def test_only_finished_trainings_of_that_person_with_all_defaults_count(tmp_path: Path) -> None:
    training(tmp_path, "ada", 110)
    training(tmp_path, "ada", 110, variant="no-mask")
    training(tmp_path, "ada", 110, preset="best")
    training(tmp_path, "ada-lena", 110)
    picture(tmp_path / "made" / "ada-fast-default-cut-short" / PICTURES / "0.png", 110)
    (found,) = delivered("ada", ["fast"], [tmp_path / "made"])
    assert found.parts[-3:] == ("ada-fast-default", PICTURES, "0.png")
    assert len(delivered("ada", ["fast", "best"], [tmp_path / "made"])) == 2


def test_a_picture_without_a_face_is_as_far_as_can_be() -> None:
    assert distance(None, [np.zeros(1)]) == distance(np.zeros(1), [None]) == FARTHEST
    assert distance(np.ones(1), [np.zeros(1), None]) == pytest.approx(1.0)
