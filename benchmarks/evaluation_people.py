"""People to measure likeness with: folders of photos, checked as selfies are, and split before anything else.

Some photos of each person are kept from the product altogether (exam photos): neither the training nor the
choice of its best state ever sees them, so that nobody is judged by what was optimised.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from engine.config import EngineConfig
from engine.faces import Embedding
from engine.messages import CheckPhoto
from engine.photo_facts import PhotoFacts
from engine.photos import PhotoChecker
from engine.pictures import read_picture

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
EXAM_EVERY = 4
MOST_SELFIES = 25
# Individual typology angle: Chardon et al. 1991, with the groups of Del Bino and Bernerd 2013, in degrees.
TONES = ((55, "very light"), (41, "light"), (28, "intermediate"), (10, "tan"), (-30, "brown"))


@dataclass(frozen=True)
class EvaluationPerson:
    """Paths and facts of the selfies that the product gets, by stem; paths and embeddings of the exam
    photos."""

    name: str
    photos: tuple[str, ...]
    facts: dict[str, dict]
    exam_photos: tuple[str, ...]
    exam: tuple[Embedding, ...]
    tone: str


def load_person(folder: Path, work: Path, checker: PhotoChecker) -> EvaluationPerson:
    """Look at every photo of a folder as the product would, and keep what it accepts."""
    work.mkdir(parents=True, exist_ok=True)
    facts: dict[str, dict] = {}
    for path in sorted(each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES):
        request = CheckPhoto(path.stem, path.stem, str(path), str(work / f"{path.stem}.jpg"), facts)
        answer = checker.check(request)
        if answer.verdicts.get(path.stem, {}).get("verdict") == "accepted":
            facts[path.stem] = answer.facts
    exam = sorted(facts)[::EXAM_EVERY]
    selfies = [stem for stem in sorted(facts) if stem not in exam][:MOST_SELFIES]
    return EvaluationPerson(
        folder.name,
        tuple(str(work / f"{stem}.jpg") for stem in selfies),
        {stem: facts[stem] for stem in selfies},
        tuple(str(work / f"{stem}.jpg") for stem in exam),
        tuple(PhotoFacts.from_json(facts[stem]).identity for stem in exam),
        tone_group(
            [
                skin_angle(read_picture(work / f"{stem}.jpg"), PhotoFacts.from_json(facts[stem]))
                for stem in facts
            ]
        ),
    )


def load_people(folder: Path, work: Path, names: Iterable[str], most: int) -> list[EvaluationPerson]:
    """The people below a folder, or the one whose photos lie in it."""
    chosen = set(names)
    folders = sorted(each for each in folder.iterdir() if each.is_dir()) or [folder]
    checker = PhotoChecker(EngineConfig())
    wanted = [each for each in folders if not chosen or each.name in chosen][:most]
    return [load_person(each, work / each.name, checker) for each in wanted]


def skin_angle(picture: np.ndarray, facts: PhotoFacts) -> float:
    """Individual typology angle of the cheeks in degrees, as this photo's light shows them."""
    right_eye, left_eye, nose, right_mouth, left_mouth = (np.array(point) for point in facts.landmarks)
    side = max(2, int(0.06 * facts.face_px))
    patches = []
    for eye, mouth in ((right_eye, right_mouth), (left_eye, left_mouth)):
        x, y = (0.45 * eye + 0.55 * mouth + 0.15 * (eye - nose)).astype(int)
        patches.append(picture[max(0, y - side) : y + side, max(0, x - side) : x + side].reshape(-1, 3))
    pixels = np.concatenate(patches).astype(np.float32)[None] / 255
    if pixels.size == 0:
        return 0.0
    lightness, _, blue_yellow = np.median(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[0], axis=0)
    return math.degrees(math.atan2(float(lightness) - 50, max(float(blue_yellow), 1e-3)))


def tone_group(angles: list[float]) -> str:
    """The group of the median photo; no origin is guessed from it."""
    middle = float(np.median(angles)) if angles else 0.0
    return next((name for least, name in TONES if middle > least), "dark")
