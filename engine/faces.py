"""Faces in a picture, and whose they are: YuNet finds them, SFace tells people apart, both on the CPU.

Knows pixels and faces; knows no files, no limits and no verdicts.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from engine.config import EngineConfig
from engine.model_files import DETECTOR, RECOGNIZER, read_model
from engine.opencv import cv2

Picture = NDArray[np.uint8]  # (height, width, 3), RGB, sRGB
Embedding = NDArray[np.float32]  # (128,), length 1
Point = tuple[float, float]

# YuNet was trained on faces of 10-300 px: a close selfie is found again at half the size.
SEARCH_SIDES_PX = (640, 256)
MIN_SCORE = 0.6
OVERLAP = 0.3  # of non-maximum suppression, OpenCV Zoo's value
MAX_CANDIDATES = 200
# Side of the face in the patch that is aligned for SFace (which wants 112 px) and looked at for sharpness.
PATCH_FACE_PX = 160
PATCH_MARGIN = 0.35  # of the face's longer side, added on every side
CPU_THREADS = 2


@dataclass(frozen=True)
class Face:
    """One face, in pixels of the picture that was searched.

    box: left, top, width, height; it may reach beyond the picture where the face does.
    landmarks: right eye, left eye, tip of the nose, right and left corner of the mouth; right and left are
        the person's own, so the right eye is usually at the left.
    score: the detector's confidence, 0 to 1.
    """

    box: tuple[float, float, float, float]
    landmarks: tuple[Point, Point, Point, Point, Point]
    score: float

    @property
    def side_px(self) -> float:
        """The face's size: the geometric mean of its box's sides."""
        return float(np.sqrt(self.box[2] * self.box[3]))

    def scaled(self, factor: float, left: float = 0.0, top: float = 0.0) -> "Face":
        """The same face after the origin moved to (left, top) and the picture was resized by `factor`."""
        x, y, width, height = self.box
        first, second, third, fourth, fifth = (
            ((px - left) * factor, (py - top) * factor) for px, py in self.landmarks
        )
        box = ((x - left) * factor, (y - top) * factor, width * factor, height * factor)
        return Face(box, (first, second, third, fourth, fifth), self.score)


@dataclass(frozen=True)
class FacePatch:
    """A face cut out with a margin and resized so that its longer side is `PATCH_FACE_PX`.

    pixels: RGB. face: the face in pixels of the patch.
    """

    pixels: Picture
    face: Face

    def inner(self) -> Picture:
        """The part of the face's box that lies in the picture."""
        x, y, width, height = (round(value) for value in self.face.box)
        inner: Picture = self.pixels[max(y, 0) : max(y + height, 1), max(x, 0) : max(x + width, 1)]
        return inner


def cut(picture: Picture, face: Face) -> FacePatch:
    """Cut a face out of a picture (RGB)."""
    height, width = picture.shape[:2]
    longer = max(face.box[2], face.box[3], 1.0)
    margin = longer * PATCH_MARGIN
    left, top = max(int(face.box[0] - margin), 0), max(int(face.box[1] - margin), 0)
    right = min(max(int(face.box[0] + face.box[2] + margin), left + 1), width)
    bottom = min(max(int(face.box[1] + face.box[3] + margin), top + 1), height)
    factor = PATCH_FACE_PX / longer
    region = picture[top:bottom, left:right]
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    size = (max(round((right - left) * factor), 1), max(round((bottom - top) * factor), 1))
    pixels = np.asarray(cv2.resize(region, size, interpolation=how), dtype=np.uint8)
    return FacePatch(pixels, face.scaled(factor, left, top))


def similarity(a: Embedding, b: Embedding) -> float:
    """Cosine of two embeddings, -1 to 1. OpenCV's threshold for one person is 0.363."""
    return float(np.dot(a, b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9))


class FaceModels:
    """The two loaded networks. Not for several threads at once."""

    def __init__(self, detector: bytes, recognizer: bytes, threads: int = CPU_THREADS) -> None:
        # Bounds OpenCV's own pool for this process; torch has its own.
        cv2.setNumThreads(threads or CPU_THREADS)
        # Loading warns about targets that nobody asked for.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        self._detector: Any = cv2.FaceDetectorYN.create(
            "onnx", _buffer(detector), _buffer(b""), (320, 320), MIN_SCORE, OVERLAP, MAX_CANDIDATES
        )
        self._recognizer: Any = cv2.FaceRecognizerSF.create("onnx", _buffer(recognizer), _buffer(b""))

    @classmethod
    def load(cls, config: EngineConfig) -> Self:
        """Read both files, hold them to their pins and load them. Raises FaceModelUnusable."""
        detector = read_model(DETECTOR, config.detector_path)
        return cls(detector, read_model(RECOGNIZER, config.recognizer_path), config.threads)

    def find(self, picture: Picture) -> list[Face]:
        """All faces of a picture, the largest first."""
        longest = max(picture.shape[:2])
        for side in SEARCH_SIDES_PX:
            faces = self._search(picture, min(side / longest, 1.0))
            if faces:
                return sorted(faces, key=lambda face: face.side_px, reverse=True)
        return []

    def _search(self, picture: Picture, factor: float) -> list[Face]:
        height, width = picture.shape[:2]
        size = (max(round(width * factor), 1), max(round(height * factor), 1))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if factor < 1 else picture
        self._detector.setInputSize(size)
        _, rows = self._detector.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        faces = [] if rows is None else [_face(row) for row in rows if np.isfinite(row).all()]
        return [face.scaled(1 / factor) for face in faces if min(face.box[2:]) >= 1]

    def identity(self, patch: FacePatch) -> Embedding:
        """Who the face in a patch is: 128 numbers of length 1."""
        bgr = cv2.cvtColor(patch.pixels, cv2.COLOR_RGB2BGR)
        aligned = self._recognizer.alignCrop(bgr, _row(patch.face))
        feature = np.asarray(self._recognizer.feature(aligned), dtype=np.float32).reshape(-1)
        embedding: Embedding = feature / max(float(np.linalg.norm(feature)), 1e-9)
        return embedding

    def embed(self, picture: Picture) -> Embedding | None:
        """Who the largest face of a picture (RGB, 256 px and more) is; None where there is no face."""
        faces = self.find(picture)
        return self.identity(cut(picture, faces[0])) if faces else None


def _buffer(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, dtype=np.uint8)


def _face(row: NDArray[np.float32]) -> Face:
    values = [float(value) for value in row]
    first, second, third, fourth, fifth = zip(values[4:14:2], values[5:14:2], strict=True)
    return Face(
        (values[0], values[1], values[2], values[3]), (first, second, third, fourth, fifth), values[14]
    )


def _row(face: Face) -> NDArray[np.float32]:
    numbers = [*face.box, *(value for point in face.landmarks for value in point), face.score]
    return np.array([numbers], dtype=np.float32)
