"""The one crop rule that the base's training data, a person's selfies and the evaluation share.

A portrait is a square around one face: the face's size (geometric mean of the box's sides, steadier under
head turns than its width) takes `FACE_SHARE` of the side and its centre lies at `FACE_CENTRE`.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (height, width, 3), RGB

FACE_SHARE = 0.46
FACE_CENTRE = (0.5, 0.44)
"""Medians over the official portraits; x, y as shares of the side."""
MIN_SCORE = 0.6


@dataclass(frozen=True)
class Square:
    """left, top, side in pixels of the source; may reach beyond it."""

    left: float
    top: float
    side: float


@dataclass(frozen=True)
class Found:
    """A face as YuNet gives it, in pixels: box (left, top, width, height) and five points (5, 2)."""

    box: tuple[float, float, float, float]
    points: NDArray[np.float32]

    @property
    def size(self) -> float:
        return float(np.sqrt(self.box[2] * self.box[3]))


class Detector:
    """YuNet through OpenCV. Large pictures are searched at 512 px."""

    def __init__(self, model_path: str) -> None:
        self._net = cv2.FaceDetectorYN.create(model_path, "", (320, 320), MIN_SCORE)

    def largest(self, picture: Picture) -> Found | None:
        """The largest face, or None."""
        height, width = picture.shape[:2]
        scale = min(1.0, 512 / max(height, width))
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        self._net.setInputSize((small.shape[1], small.shape[0]))
        _, rows = self._net.detect(np.ascontiguousarray(small[:, :, ::-1]))
        if rows is None:
            return None
        row = max(rows, key=lambda face: face[2] * face[3]) / scale
        box = (float(row[0]), float(row[1]), float(row[2]), float(row[3]))
        return Found(box, row[4:14].reshape(5, 2).astype(np.float32))


def portrait_square(
    box: tuple[float, float, float, float], width: int, height: int, share: float = FACE_SHARE
) -> Square:
    """The rule. The square is shrunk to the picture and pushed inside it where the picture allows."""
    face = float(np.sqrt(box[2] * box[3]))
    side = min(face / share, float(min(width, height)))
    left = box[0] + box[2] / 2 - FACE_CENTRE[0] * side
    top = box[1] + box[3] / 2 - FACE_CENTRE[1] * side
    return Square(min(max(left, 0.0), width - side), min(max(top, 0.0), height - side), side)


def cut(picture: Picture, square: Square, size_px: int = 256) -> Picture:
    """The square, resized to `size_px`; what lies outside the picture repeats its edge."""
    scale = size_px / square.side
    matrix = np.array([[scale, 0, -square.left * scale], [0, scale, -square.top * scale]], np.float32)
    if scale < 0.5:  # area filter first: warpAffine alone would alias
        half = 0.5
        while scale / half < 0.5:
            half /= 2
        picture = cv2.resize(picture, None, fx=half, fy=half, interpolation=cv2.INTER_AREA)
        matrix[:, :2] /= half
    out: Picture = cv2.warpAffine(
        picture,
        matrix,
        (size_px, size_px),
        flags=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return out


def crop_portrait(picture: Picture, detector: Detector, size_px: int = 256) -> Picture | None:
    """Find the largest face and cut its portrait, or None where there is no face."""
    found = detector.largest(picture)
    if found is None:
        return None
    return cut(picture, portrait_square(found.box, picture.shape[1], picture.shape[0]), size_px)
