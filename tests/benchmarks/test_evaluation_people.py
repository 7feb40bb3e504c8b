"""Evaluation people: some photos are kept from the product, and skin tone is measured, not guessed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.evaluation_people import load_person, skin_angle, tone_group
from engine.config import EngineConfig
from engine.photos import PhotoChecker
from tests import images
from tests.engine.facts import facts


def test_exam_photos_never_reach_the_product(tmp_path: Path) -> None:
    folder = tmp_path / "ann"
    folder.mkdir()
    for path in images.SELFIES[:5]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "notes.txt").write_text("no photo")
    Image.new("RGB", (600, 600), (90, 120, 90)).save(folder / "wall.png")
    person = load_person(folder, tmp_path / "work", PhotoChecker(EngineConfig()))
    assert len(person.exam) == 2
    assert sorted(person.facts) == sorted(Path(photo).stem for photo in person.photos)
    assert set(person.facts) == {"02", "03", "04"}


@pytest.mark.parametrize(
    ("rgb", "group"), [((250, 225, 210), "very light"), ((190, 140, 105), "tan"), ((70, 45, 35), "dark")]
)
def test_tone_is_measured_on_the_cheeks(rgb: tuple[int, int, int], group: str) -> None:
    picture = np.full((1280, 960, 3), rgb, np.uint8)
    assert tone_group([skin_angle(picture, facts(0, 1))] * 3) == group
