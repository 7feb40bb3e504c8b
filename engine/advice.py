"""Which further selfies would help a person most, from what was measured in those that they sent.

Codes; the application has a sentence for each. Every rule asks what is missing in the set, never what a face
is like.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from engine.face_quality import MIN_SHARPNESS
from engine.faces import similarity
from engine.photo_facts import PhotoFacts, Problem

MOST = 3
TURNED_DEGREES = 12.0
# Well lit faces have 109 or more, the darkest skin among them (see `face_quality`).
DIM_BRIGHTNESS = 109.0
CLOSE_FACE_PX = 250  # fills half of a training picture of 512 px
FEW = 10
# Selfies of one person taken on different days have a median of .5 to .8; one series is above.
ONE_SERIES = 0.85
SHARE = 1 / 3


def advice(photos: Sequence[PhotoFacts]) -> tuple[str, ...]:
    """At most three codes, the most useful first; empty where nothing is missing, or nothing known."""
    if not photos:
        return ()
    yaws = [photo.yaw_degrees for photo in photos]
    found = {
        "daylight": _share(photo.brightness < DIM_BRIGHTNESS or _has(photo, _LIGHT) for photo in photos),
        "uncovered": _share(_has(photo, {Problem.FACE_UNCLEAR}) for photo in photos),
        "sharper": _share(photo.sharpness < 2 * MIN_SHARPNESS for photo in photos),
        "closer": _share(photo.face_px < CLOSE_FACE_PX for photo in photos),
        "from_left": float(not any(yaw < -TURNED_DEGREES for yaw in yaws)),
        "from_right": float(not any(yaw > TURNED_DEGREES for yaw in yaws)),
        "other_days": float(_typical_likeness(photos) > ONE_SERIES),
        "more": float(len(photos) < FEW),
    }
    return tuple(code for code, share in found.items() if share >= SHARE)[:MOST]


_LIGHT = {Problem.TOO_DARK, Problem.TOO_BRIGHT}


def _has(photo: PhotoFacts, problems: set[Problem]) -> bool:
    return not problems.isdisjoint(photo.problems)


def _share(values: Iterable[bool]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _typical_likeness(photos: Sequence[PhotoFacts]) -> float:
    pairs = [similarity(a.identity, b.identity) for a, b in combinations(photos, 2)]
    return float(np.median(pairs)) if pairs else 0.0
