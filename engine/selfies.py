"""A person's accepted selfies: which are there, and which the training never sees so that it can be measured.

Nothing here is drawn at random: the same selfies are always split in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.faces import similarity
from engine.photo_facts import PhotoFacts

# So many selfies are held out of so many or more: two or three, that one odd photo does not decide, and few
# enough that the training does not miss them. Below what the product asks for, one or none.
HELD_OUT = ((15, 3), (8, 2), (6, 1))
# A difference of 1 in `look`: what makes two photos of one person visibly different.
YAW_DEGREES, BRIGHTNESS, FACE_SHARE = 15.0, 40.0, 0.15


@dataclass(frozen=True)
class Selfie:
    """A clean photo with what the check measured in it; None = nothing is known of it."""

    key: str
    path: Path
    facts: PhotoFacts | None

    @classmethod
    def of(cls, path: str, facts: Mapping[str, Any]) -> "Selfie":
        """`facts` are the photo's `PhotoChecked.facts`."""
        try:
            return cls(Path(path).stem, Path(path), PhotoFacts.from_json(dict(facts)))
        except ValueError:
            return cls(Path(path).stem, Path(path), None)


@dataclass(frozen=True)
class Split:
    """Selfies to train on, and selfies to measure the training by."""

    training: tuple[Selfie, ...]
    held_out: tuple[Selfie, ...]


def usable_selfies(photos: Sequence[str], facts: Mapping[str, Mapping[str, Any]]) -> list[Selfie]:
    """The photos that are there, each once, in a stable order; `facts` are by the path's stem."""
    selfies = {Path(path).stem: Selfie.of(path, facts.get(Path(path).stem, {})) for path in photos}
    return [selfies[key] for key in sorted(selfies) if selfies[key].path.is_file()]


def split_selfies(selfies: Sequence[Selfie]) -> Split:
    """Hold out photos without a problem that differ among themselves in pose, light and distance.

    The first is the face most like all others, so that no outlier becomes the measure. A photo with a
    problem, or of which nothing is known, is never held out; then there may be fewer, or none.
    """
    good = {selfie.key: selfie.facts for selfie in selfies if selfie.facts and not selfie.facts.problems}
    wanted = next((held for least, held in HELD_OUT if len(selfies) >= least), 0)
    chosen: list[str] = []
    while len(chosen) < wanted and len(chosen) < len(good):
        left = [key for key in sorted(good) if key not in chosen]
        chosen.append(max(left, key=lambda key: _merit(good[key], [good[c] for c in chosen], good.values())))
    return Split(
        tuple(selfie for selfie in selfies if selfie.key not in chosen),
        tuple(selfie for selfie in selfies if selfie.key in chosen),
    )


def _merit(photo: PhotoFacts, chosen: Sequence[PhotoFacts], everyone: Any) -> float:
    """How much the photo adds to those chosen: typical of the person, and unlike them in everything else."""
    typical = float(np.mean([similarity(photo.identity, other.identity) for other in everyone]))
    novel = min((float(np.linalg.norm(look(photo) - look(other))) for other in chosen), default=0.0)
    return typical + 0.5 * min(novel, 2.0)


def look(photo: PhotoFacts) -> NDArray[np.float64]:
    """Turn of the head, light and distance, (3,): photos of one person that look alike lie close."""
    share = photo.face_px / max(1, min(photo.width_px, photo.height_px))
    return np.array([photo.yaw_degrees / YAW_DEGREES, photo.brightness / BRIGHTNESS, share / FACE_SHARE])
