"""Which parts of a selfie a training sees, and at which sizes: framings by the face, sizes by buckets.

Geometry only: no pixel is read here. No picture is ever mirrored: a face is not symmetric.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product

import numpy as np

from engine.demo_base.portrait import FACE_CENTRE, FACE_SHARE, Picture
from engine.faces import Point
from engine.opencv import cv2
from engine.photo_facts import PhotoFacts


class Framing(StrEnum):
    """How much is seen around the face."""

    CLOSE_UP = "close_up"
    HEAD_AND_SHOULDERS = "head_and_shoulders"
    AS_GIVEN = "as_given"


# The face's size (geometric mean of its box's sides) over the side of the square. Head and shoulders is the
# rule that the small base's pictures follow.
FACE_SHARES = {Framing.CLOSE_UP: 0.66, Framing.HEAD_AND_SHOULDERS: FACE_SHARE}
# Of a photo's steps; those of a framing that it cannot fill go to the others.
FRAMING_SHARES = {Framing.HEAD_AND_SHOULDERS: 0.5, Framing.CLOSE_UP: 0.25, Framing.AS_GIVEN: 0.25}
# Enlarged further, an eye is made of the resampling filter.
MAX_ENLARGING = 1.3
# A photo that shows hardly more than head and shoulders is not shown twice.
MIN_CONTEXT = 1.25
# Sides of training pictures are multiples of an eighth of the resolution (64 px at 512), so that few shapes
# occur, and always of 16 px, FLUX's patch.
BUCKETS_A_SIDE, PATCH_PX = 8, 16


@dataclass(frozen=True)
class Crop:
    """A rectangle of the photo, in its pixels, and the size in pixels that it is brought to.

    share: of the photo's steps, all its crops together 1.
    """

    framing: Framing
    left: float
    top: float
    width: float
    height: float
    width_px: int
    height_px: int
    share: float = 1.0

    @property
    def scale(self) -> float:
        """Enlarging (over 1) or shrinking; the same in both directions."""
        return self.width_px / self.width

    def place(self, point: Point) -> Point:
        """Where a point of the photo lies in the crop, in the crop's pixels."""
        return (point[0] - self.left) * self.scale, (point[1] - self.top) * self.scale


def plan_crops(
    facts: PhotoFacts | None,
    size_px: tuple[int, int],
    resolutions_px: tuple[int, ...],
    framings: tuple[Framing, ...],
    max_aspect: float,
) -> list[Crop]:
    """The crops of a photo of `size_px` (width, height), at least one; without facts its middle is taken.

    A larger resolution is drawn less often, in proportion to its pixels, so that each takes the same time.
    """
    every = [
        _crop(framing, facts, size_px, side_px, max_aspect)
        for framing, side_px in product(framings, sorted(resolutions_px))
        if facts is not None or framing is framings[0]
    ]
    fitting = [crop for crop in every if crop.scale <= MAX_ENLARGING]
    portraits = [crop for crop in fitting if crop.framing is not Framing.AS_GIVEN]
    if not portraits and framings != (Framing.AS_GIVEN,):
        portraits = [_widened(facts, size_px, min(resolutions_px))]
    context = [crop for crop in fitting if crop.framing is Framing.AS_GIVEN]
    if portraits and facts is not None:
        context = [crop for crop in context if _shows_more(crop, facts)]
    return _shared([*portraits, *context] or every[:1])


def cut_crop(picture: Picture, crop: Crop) -> Picture:
    """The pixels of a crop; what lies outside the photo repeats its edge."""
    scale = crop.scale
    half = 1.0
    while scale / half < 0.5:  # area filter first: the warp alone would alias
        half /= 2
    if half < 1:
        size = (round(picture.shape[1] * half), round(picture.shape[0] * half))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    matrix = np.array(
        [[scale / half, 0, -crop.left * scale], [0, scale / half, -crop.top * scale]], np.float32
    )
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    size = (crop.width_px, crop.height_px)
    made: Picture = cv2.warpAffine(picture, matrix, size, flags=how, borderMode=cv2.BORDER_REPLICATE)
    return made


def bucket(aspect: float, side_px: int, max_aspect: float) -> tuple[int, int]:
    """Width and height in pixels, about `side_px` squared of them, for a picture `aspect` times as wide as
    it is high."""
    aspect = min(max(aspect, 1 / max_aspect), max_aspect)
    unit = max(PATCH_PX, side_px // BUCKETS_A_SIDE // PATCH_PX * PATCH_PX)
    return _units(side_px * aspect**0.5, unit), _units(side_px * aspect**-0.5, unit)


def _units(length: float, unit: int) -> int:
    return max(1, round(length / unit)) * unit


def _crop(
    framing: Framing, facts: PhotoFacts | None, size_px: tuple[int, int], side_px: int, max_aspect: float
) -> Crop:
    if framing is Framing.AS_GIVEN:
        made_px = bucket(size_px[0] / size_px[1], side_px, max_aspect)
        scale = max(made_px[0] / size_px[0], made_px[1] / size_px[1])
        return _around(facts, (made_px[0] / scale, made_px[1] / scale), size_px, made_px, framing)
    side = float(min(size_px)) if facts is None else min(facts.face_px / FACE_SHARES[framing], *size_px)
    return _around(facts, (side, side), size_px, (side_px, side_px), framing)


def _widened(facts: PhotoFacts | None, size_px: tuple[int, int], side_px: int) -> Crop:
    """Of a small face, more of what is around it, rather than enlarging it too far."""
    side = min(side_px / MAX_ENLARGING, *size_px)
    return _around(facts, (side, side), size_px, (side_px, side_px), Framing.HEAD_AND_SHOULDERS)


def _shows_more(crop: Crop, facts: PhotoFacts) -> bool:
    return min(crop.width, crop.height) >= MIN_CONTEXT * facts.face_px / FACE_SHARE


def _shared(crops: list[Crop]) -> list[Crop]:
    shares = [FRAMING_SHARES[crop.framing] / (crop.width_px * crop.height_px) for crop in crops]
    return [replace(crop, share=share / sum(shares)) for crop, share in zip(crops, shares, strict=True)]


def _around(
    facts: PhotoFacts | None,
    extent: tuple[float, float],
    size_px: tuple[int, int],
    made_px: tuple[int, int],
    framing: Framing,
) -> Crop:
    """A rectangle with the face where a portrait has it, pushed inside the photo; else its middle."""
    left, top = (size_px[0] - extent[0]) / 2, (size_px[1] - extent[1]) / 2
    if facts is not None:
        x, y, width, height = facts.box
        left = min(max(x + width / 2 - FACE_CENTRE[0] * extent[0], 0.0), size_px[0] - extent[0])
        top = min(max(y + height / 2 - FACE_CENTRE[1] * extent[1], 0.0), size_px[1] - extent[1])
    return Crop(framing, left, top, *extent, *made_px)
