"""The face mesh: landmarks lie on the face, the expression follows the eyes, the person stands out."""

import numpy as np
import pytest
from PIL import Image

from engine.config import EngineConfig
from engine.face_mesh import SIDE_PX, FaceMesh
from engine.faces import FaceModels
from tests import images


@pytest.fixture(scope="module")
def mesh() -> FaceMesh:
    return FaceMesh()


def test_landmarks_lie_on_the_face_and_turn_with_it(mesh: FaceMesh) -> None:
    models, picture = FaceModels.load(EngineConfig()), images.selfie()
    (face, *_) = models.find(np.asarray(picture))
    points = mesh.points(np.asarray(picture), face)
    assert points.shape == (478, 2)
    left, top, width, height = face.box
    inside = (points > [left - width * 0.2, top - height * 0.2]) & (
        points < [left + width * 1.2, top + height * 1.2]
    )
    assert inside.all()
    iris = (points[468], points[473])
    assert np.linalg.norm(iris[0] - face.landmarks[0]) < 0.06 * width
    assert np.linalg.norm(iris[1] - face.landmarks[1]) < 0.06 * width


def test_an_open_face_has_open_eyes(mesh: FaceMesh) -> None:
    picture = np.asarray(images.selfie())
    (face, *_) = FaceModels.load(EngineConfig()).find(picture)
    expression = mesh.expression(mesh.points(picture, face))
    assert 0 <= expression.eyes_closed < 0.3
    assert 0 <= expression.smile <= 1


def test_the_person_stands_before_the_background(mesh: FaceMesh) -> None:
    portrait = np.asarray(images.selfie().resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS))
    mask = mesh.person(portrait)
    assert mask.shape == (SIDE_PX, SIDE_PX)
    assert mask[110:150, 110:150].mean() > 0.9
    assert mask[:10, :10].mean() < 0.2
