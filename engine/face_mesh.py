"""What a face does and who is in front: 478 landmarks, expression, and the person against the background.

MediaPipe's models (Apache-2.0, `face_mesh_models/README.md`), run by OpenCV: against LiteRT the landmarks
differ by 2e-4 px, the scores by 2e-6 and the mask by 1.5e-5.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.faces import Face, Picture
from engine.opencv import cv2

MODELS = Path(__file__).parent / "face_mesh_models"
SIDE_PX = 256
# Side of the patch that the landmark model reads, over the face's longer side.
PATCH_SHARE = 1.5
# The 146 of 478 landmarks that the expression model reads, from MediaPipe's face_blendshapes_graph.cc.
EXPRESSION_RUNS = (
    "0-1 4-8 10 13-14 17 21 33 37 39-40 46 52-55 58 61 63 65-67 70 78 80-82 84 87-88 91 93 95 103 105 "
    "107 109 127 132-133 136 144-146 148-150 152-155 157-163 168 172-173 176 178 181 185 191 195 197 "
    "234 246 249 251 263 267 269-270 276 282-285 288 291 293 295-297 300 308 310-312 314 317-318 321 "
    "323-324 332 334 336 338 356 361-362 365 373-375 377-382 384-390 397-398 400 402 405 409 415 454 "
    "466 468-477"
)
EXPRESSION_POINTS = [
    point
    for run in EXPRESSION_RUNS.split()
    for point in range(int(run.split("-")[0]), int(run.split("-")[-1]) + 1)
]
BLINK_LEFT, BLINK_RIGHT, JAW_OPEN, SMILE_LEFT, SMILE_RIGHT = 9, 10, 25, 44, 45  # of the 52 expression scores


@dataclass(frozen=True)
class Expression:
    """Scores of 0 to 1. eyes_closed: of the eye that is open wider."""

    smile: float
    jaw_open: float
    eyes_closed: float


class FaceMesh:
    """The three loaded networks. Not for several threads at once."""

    def __init__(self) -> None:
        self._landmarks = _load("face_landmarks_detector.tflite")
        self._expression = _load("face_blendshapes.tflite")
        self._person = _load("selfie_segmentation.tflite")

    def points(self, picture: Picture, face: Face) -> NDArray[np.float32]:
        """Landmarks (478, 2) in pixels of the picture, found in a patch turned so that the eyes are level."""
        right, left = np.array(face.landmarks[0]), np.array(face.landmarks[1])
        angle = float(np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0])))
        centre = (face.box[0] + face.box[2] / 2, face.box[1] + face.box[3] / 2)
        scale = SIDE_PX / (PATCH_SHARE * max(face.box[2:]))
        matrix = cv2.getRotationMatrix2D(centre, angle, scale)
        matrix[:, 2] += SIDE_PX / 2 - np.array(centre)
        patch = cv2.warpAffine(picture, matrix, (SIDE_PX, SIDE_PX), flags=cv2.INTER_LINEAR)
        self._landmarks.setInput(_planes(patch))
        flat = self._landmarks.forward("Identity").reshape(478, 3)[:, :2]
        back = cv2.invertAffineTransform(matrix)
        points: NDArray[np.float32] = (flat @ back[:, :2].T + back[:, 2]).astype(np.float32)
        return points

    def expression(self, points: NDArray[np.float32]) -> Expression:
        """Of a face's 478 landmarks."""
        self._expression.setInput(points[EXPRESSION_POINTS][None].astype(np.float32))
        scores = self._expression.forward().reshape(-1)
        return Expression(
            smile=float(scores[SMILE_LEFT] + scores[SMILE_RIGHT]) / 2,
            jaw_open=float(scores[JAW_OPEN]),
            eyes_closed=float(min(scores[BLINK_LEFT], scores[BLINK_RIGHT])),
        )

    def person(self, picture: Picture) -> NDArray[np.float32]:
        """(256, 256), 0 to 1: how surely each pixel of a 256 px square portrait is the person."""
        self._person.setInput(_planes(picture))
        mask: NDArray[np.float32] = self._person.forward().reshape(SIDE_PX, SIDE_PX)
        return mask


def _load(name: str) -> "cv2.dnn.Net":
    return cv2.dnn.readNetFromTFLite(str(MODELS / name))


def _planes(picture: Picture) -> NDArray[np.float32]:
    """(height, width, 3) uint8 -> (1, 3, height, width) in 0 to 1."""
    return np.ascontiguousarray((picture[None] / 255).astype(np.float32).transpose(0, 3, 1, 2))
