"""The look at a picture that was made: whose face it is, and what a headshot must not have.

Measures alone; what is good enough, and what is better, is `engine.ranking`'s business.
"""

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine import face_quality as quality
from engine.config import EngineConfig
from engine.demo_base.portrait import cut as cut_square
from engine.demo_base.portrait import portrait_square
from engine.face_mesh import FaceMesh
from engine.faces import Embedding, Face, FaceModels, cut
from engine.opencv import cv2
from engine.photos import CLEAR_SCORE, RIVAL_SIDE
from engine.pictures import Pixels
from engine.safety import SafetyModel

THUMBNAIL_PX, THUMBNAIL_EDGE_PX = 40, 4
# The upper corners, where a portrait shows what is behind the person.
CORNER_HEIGHT, CORNER_WIDTH = 0.3, 0.15

Thumbnail = NDArray[np.uint8]  # (THUMBNAIL_PX, THUMBNAIL_PX), gray: the head and shoulders


@dataclass(frozen=True)
class FaceFound:
    """The largest face of a picture.

    identity: whose it is. alone: no other face of half its size or more. whole: it is not cut off.
    sharpness: see `face_quality`. eyes_closed: 0 to 1, of the eye that is open wider. thumbnail: the head and
    shoulders, for `same_picture`.
    """

    identity: Embedding
    alone: bool
    whole: bool
    sharpness: float
    eyes_closed: float
    thumbnail: Thumbnail


@dataclass(frozen=True)
class Inspection:
    """What was seen. unsafe: see `safety`. backdrop: luma behind the person, 0 to 1."""

    face: FaceFound | None
    unsafe: float
    backdrop: float


class Inspector:
    """Holds the networks, which are loaded at the first picture. About 75 ms a picture on one core. Threads
    wait for one another: OpenCV's networks are not for two at once."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._faces: FaceModels | None = None
        self._mesh: FaceMesh | None = None
        self._safety: SafetyModel | None = None

    def inspect(self, pixels: Pixels) -> Inspection:
        """Look at a picture (RGB). Raises FaceModelUnusable."""
        with self._lock:
            if self._safety is None:
                self._safety = SafetyModel(self._config.safety_path, self._config.threads)
            return Inspection(self._face(pixels), self._safety.unsafe(pixels), backdrop(pixels))

    def face(self, pixels: Pixels) -> FaceFound | None:
        """The largest face alone; None where there is none. Raises FaceModelUnusable."""
        with self._lock:
            return self._face(pixels)

    def _face(self, pixels: Pixels) -> FaceFound | None:
        if self._faces is None:
            self._faces = FaceModels.load(self._config)
        if self._mesh is None:
            self._mesh = FaceMesh()
        found = [face for face in self._faces.find(pixels) if face.score >= CLEAR_SCORE]
        if not found:
            return None
        main, patch = found[0], cut(pixels, found[0])
        height, width = pixels.shape[:2]
        return FaceFound(
            identity=self._faces.identity(patch),
            alone=all(other.side_px < RIVAL_SIDE * main.side_px for other in found[1:]),
            whole=not quality.is_cut_off(main, width, height),
            sharpness=quality.sharpness(patch),
            eyes_closed=self._mesh.expression(self._mesh.points(pixels, main)).eyes_closed,
            thumbnail=thumbnail(pixels, main),
        )


def thumbnail(pixels: Pixels, face: Face) -> Thumbnail:
    """The head and shoulders, cut by the rule of the training crops, small and gray."""
    height, width = pixels.shape[:2]
    square = cut_square(pixels, portrait_square(face.box, width, height), THUMBNAIL_PX)
    return np.asarray(cv2.cvtColor(square, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def same_picture(a: Thumbnail, b: Thumbnail) -> float:
    """Correlation of two thumbnails at the best of all shifts by up to a tenth, -1 to 1.

    A copy that was cut out, darkened, blurred and made noisy keeps .95 or more in 95 of 100 cases (230
    pictures of 11 people); two pictures of one person in other places reach .94 at most (6 people), two of a
    series before one wall up to .99 (5 people): so the limit is each person's own.
    """
    edge = THUMBNAIL_EDGE_PX
    inner = np.ascontiguousarray(b[edge:-edge, edge:-edge])
    return float(np.asarray(cv2.matchTemplate(a, inner, cv2.TM_CCOEFF_NORMED)).max())


def backdrop(pixels: Pixels) -> float:
    """Mean luma of the upper corners, 0 to 1."""
    height, width = pixels.shape[:2]
    rows, columns = max(1, round(CORNER_HEIGHT * height)), max(1, round(CORNER_WIDTH * width))
    luma = cv2.cvtColor(np.ascontiguousarray(pixels[:rows]), cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    return float((luma[:, :columns].mean() + luma[:, -columns:].mean()) / 2)
