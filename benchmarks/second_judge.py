"""Whether a face network that had no part in it finds the person in the delivered pictures.

    pip install --no-deps dlib-bin face_recognition_models      # Boost licence; models CC0
    python -m benchmarks.likeness --people FOLDER --out DATA
    python -m benchmarks.second_judge --people FOLDER --pictures DATA

SFace chooses an adapter's best state and the pictures that are delivered, so its own figures flatter them.
dlib's network (ResNet, 2017, other photos, 99.38 % on LFW) decides by distance: its authors call two faces
one person under .6. Beside the delivered pictures stand the person's own photos, each against the others, and
other people's. All are photos that the product never saw. Prints a table.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation_people import EvaluationPerson, load_people
from benchmarks.likeness import PICTURES, ROOT
from benchmarks.likeness_report import DEFAULT
from engine.config import EngineConfig
from engine.faces import FaceModels
from engine.pictures import Pixels, read_picture

SAME_PERSON, FARTHEST = 0.6, 2.0
JITTERS = 10  # it looks at the face so many times, a little moved
Descriptor = NDArray[np.float64]  # (128,)


class Judge:
    """dlib's network, on the faces that YuNet finds."""

    def __init__(self) -> None:
        import dlib

        found = find_spec("face_recognition_models")
        assert found is not None and found.origin is not None
        models = Path(found.origin).parent / "models"
        self._dlib = dlib
        self._shape: Any = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
        self._network: Any = dlib.face_recognition_model_v1(
            str(models / "dlib_face_recognition_resnet_model_v1.dat")
        )
        self._finder = FaceModels.load(EngineConfig())

    def describe(self, picture: Pixels) -> Descriptor | None:
        """Of the largest face; None where there is none."""
        faces = self._finder.find(picture)
        if not faces:
            return None
        left, top, width, height = (round(value) for value in faces[0].box)
        # Its landmarks were trained on nearly square boxes of brows to chin.
        side, middle = round(0.95 * width), top + round(0.58 * height)
        centre = left + width // 2
        box = self._dlib.rectangle(
            centre - side // 2, middle - side // 2, centre + side // 2, middle + side // 2
        )
        picture = np.ascontiguousarray(picture)
        made = self._network.compute_face_descriptor(picture, self._shape(picture, box), JITTERS)
        return np.array(made)

    def all(self, paths: Iterable[Path]) -> list[Descriptor | None]:
        """Of picture files."""
        return [self.describe(read_picture(path)) for path in paths]


def distance(one: Descriptor | None, photos: Sequence[Descriptor | None]) -> float:
    """To the mean of a person's photos; what shows no face is as far as can be."""
    seen = [each for each in photos if each is not None]
    return FARTHEST if one is None or not seen else float(np.linalg.norm(one - np.mean(seen, axis=0)))


def row(name: str, columns: Sequence[Sequence[float]]) -> str:
    """Of the table."""
    shown = [f"{np.median(each):.2f} | {np.mean(np.array(each) < SAME_PERSON):.0%}" for each in columns]
    return f"| {name} | {len(columns[1])} | {' | '.join(shown)} |"


def delivered(name: str, presets: Sequence[str], folders: Sequence[Path]) -> list[Path]:
    """Pictures of a person's finished trainings with all defaults."""
    paths: list[Path] = []
    for outcome in sorted(path for folder in folders for path in folder.glob("*.json")):
        of = json.loads(outcome.read_text())
        if (of["person"], of["variant"]) == (name, DEFAULT) and of["preset"] in presets:
            paths += sorted((outcome.with_suffix("") / PICTURES).glob("*.png"))
    return paths


def measured(
    judge: Judge, people: Sequence[EvaluationPerson], presets: Sequence[str], folders: Sequence[Path]
) -> Iterator[str]:
    """The table, a row at a time."""
    photos = {each.name: judge.all(map(Path, each.exam_photos)) for each in people}
    kinds = ("own photos", "delivered", "strangers")
    titles = [f"{kind}: median | under {SAME_PERSON}" for kind in kinds]
    yield f"| person | pictures | {' | '.join(titles)} |\n|---|---|{'---|' * 2 * len(kinds)}"
    sums: tuple[list[float], ...] = ([], [], [])
    for name, own in photos.items():
        paths = delivered(name, presets, folders)
        columns = (
            [distance(one, [each for each in own if each is not one]) for one in own],
            [distance(each, own) for each in judge.all(paths)],
            [distance(each, own) for other, theirs in photos.items() if other != name for each in theirs],
        )
        if all(columns):
            yield row(name, columns)
            for every, column in zip(sums, columns, strict=True):
                every += column
    if all(sums):
        yield row("all", sums)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=Path, required=True)
    parser.add_argument("--presets", nargs="+", default=["balanced"])
    parser.add_argument("--pictures", type=Path, nargs="+", default=[ROOT / "data" / "likeness-benchmark"])
    options = parser.parse_args()
    people = load_people(options.people, options.pictures[0] / "photos", [], 1000)
    for line in measured(Judge(), people, options.presets, options.pictures):
        print(line, flush=True)


if __name__ == "__main__":
    main()
