"""What is known of one photo, and what may be wrong with it. The application keeps these facts."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from engine.faces import Embedding, Point

FACTS_VERSION = 1


class Problem(StrEnum):
    """Why a photo is refused or doubted. The codes are stable: the application has a sentence for each."""

    UNREADABLE = "unreadable"  # damaged or cut short
    WRONG_FORMAT = "wrong_format"  # not JPEG, PNG, WebP, HEIC or AVIF, whatever its name says
    EMPTY = "empty"  # 0 bytes
    FILE_TOO_LARGE = "file_too_large"
    TOO_MANY_PIXELS = "too_many_pixels"
    ANIMATED = "animated"
    IMAGE_TOO_SMALL = "image_too_small"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    DRAWING = "drawing"  # flat colours where skin should be: a cartoon, an emoji, an avatar
    FACE_TOO_SMALL = "face_too_small"
    FACE_CUT_OFF = "face_cut_off"
    DUPLICATE = "duplicate"  # a stronger copy of it is in the set
    SOMEONE_ELSE = "someone_else"  # not the person most of the set shows
    FACE_SMALL = "face_small"
    FACE_UNCLEAR = "face_unclear"  # covered by a hand or large glasses, far tilted, or no face after all
    BLURRED = "blurred"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    PROFILE = "profile"


SOFT_PROBLEMS = frozenset(
    {
        Problem.FACE_SMALL,
        Problem.FACE_UNCLEAR,
        Problem.BLURRED,
        Problem.TOO_DARK,
        Problem.TOO_BRIGHT,
        Problem.PROFILE,
    }
)


@dataclass(frozen=True)
class PhotoFacts:
    """A photo with a face, measured on its clean copy; all positions are pixels of that copy.

    width_px, height_px: the clean copy's size.
    box: the main face: left, top, width, height; may reach beyond the copy.
    landmarks: right eye, left eye, tip of the nose, right and left corner of the mouth (the person's own
        right,
        which is usually at the picture's left).
    score: the detector's confidence in the main face, 0 to 1.
    yaw_degrees: turn of the head, estimated from the landmarks; positive = towards the picture's right.
    sharpness: see `face_quality.sharpness`; under `face_quality.MIN_SHARPNESS` the face is blurred.
    brightness: 95th percentile of the face's luma, 0 to 255. clipped: share of it that is blown out, 0 to 1.
    phash: perceptual hash of the whole copy, 16 hexadecimal digits.
    embedding: whose face it is, 128 numbers of length 1, as base64 of float16, little endian.
    problems: the photo's own, without those that only its set shows.
    """

    width_px: int
    height_px: int
    box: tuple[float, float, float, float]
    landmarks: tuple[Point, Point, Point, Point, Point]
    score: float
    yaw_degrees: float
    sharpness: float
    brightness: float
    clipped: float
    phash: str
    embedding: str
    problems: tuple[Problem, ...] = ()

    @property
    def face_px(self) -> float:
        """Size of the main face: geometric mean of its box's sides."""
        return float(np.sqrt(max(self.box[2] * self.box[3], 0.0)))

    @property
    def identity(self) -> Embedding:
        """The embedding as numbers, (128,), length 1."""
        return np.frombuffer(base64.b64decode(self.embedding), dtype="<f2").astype(np.float32)

    def with_problems(self, problems: Sequence[Problem]) -> "PhotoFacts":
        """The same facts with these problems of the photo's own."""
        return replace(self, problems=tuple(problems))

    def to_json(self) -> dict[str, Any]:
        """For `PhotoChecked.facts`: nothing in it but what JSON knows."""
        return {
            "version": FACTS_VERSION,
            **asdict(self),
            "box": list(self.box),
            "landmarks": [list(point) for point in self.landmarks],
            "problems": [str(code) for code in self.problems],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "PhotoFacts":
        """Inverse of `to_json`, also after a round trip through JSON. Raises ValueError for anything else."""
        fields = dict(values)
        try:
            if fields.pop("version") != FACTS_VERSION:
                raise ValueError("facts of another version")
            x, y, width, height = (float(value) for value in fields.pop("box"))
            first, second, third, fourth, fifth = (
                (float(px), float(py)) for px, py in fields.pop("landmarks")
            )
            problems = tuple(Problem(code) for code in fields.pop("problems"))
            facts = cls(
                box=(x, y, width, height),
                landmarks=(first, second, third, fourth, fifth),
                problems=problems,
                **fields,
            )
            complete = facts.identity.shape == (128,) and len(bytes.fromhex(facts.phash)) == 8
        except (KeyError, TypeError, binascii.Error) as error:
            raise ValueError(f"not the facts of a photo: {error}") from error
        if not complete:
            raise ValueError("not the facts of a photo: embedding or hash of another size")
        return facts


def pack_embedding(embedding: Embedding) -> str:
    """An embedding as text, 344 characters. float16 changes a cosine by less than 0.001."""
    return base64.b64encode(embedding.astype("<f2").tobytes()).decode("ascii")
