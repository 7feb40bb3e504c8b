"""Faces are found where they are, at any size, and an embedding follows the person."""

import numpy as np
import pytest
from PIL import Image

from engine.config import EngineConfig
from engine.faces import PATCH_FACE_PX, FaceModels, cut, similarity
from tests import images


@pytest.fixture(scope="module")
def models() -> FaceModels:
    return FaceModels.load(EngineConfig(threads=1))


@pytest.mark.parametrize("side", [480, 768, 2048])
def test_a_face_is_found_at_any_size(models, side):
    (face,) = models.find(np.asarray(images.selfie().resize((side, side))))
    at_768 = face.scaled(768 / side)
    assert at_768.box == pytest.approx((262, 91, 277, 362), abs=12)
    assert at_768.landmarks[2] == pytest.approx((404, 315), abs=10)


def test_a_face_that_fills_the_picture_is_found(models):
    close = images.selfie().crop((230, 60, 570, 480)).resize((1640, 2026))
    assert models.find(np.asarray(close))[0].score > 0.8


def test_the_largest_face_comes_first(models):
    street = images.selfie()
    street.paste(images.other(2).resize((200, 200)), (0, 0))
    sizes = [face.side_px for face in models.find(np.asarray(street))]
    assert len(sizes) == 2
    assert sizes == sorted(sizes, reverse=True)


def test_no_face_in_a_landscape(models):
    assert models.find(np.asarray(images.landscape())) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3000, 8)])
def test_pictures_of_odd_shapes(models, shape):
    assert models.find(np.zeros((*shape, 3), np.uint8)) == []


def test_a_patch_holds_the_face_at_its_size(models):
    pixels = np.asarray(images.selfie().crop((200, 60, 768, 768)))
    (face,) = models.find(pixels)
    patch = cut(pixels, face)
    assert max(patch.face.box[2:]) == pytest.approx(PATCH_FACE_PX)
    height, width = patch.inner().shape[:2]
    assert (width, height) == pytest.approx((patch.face.box[2], patch.face.box[3]), abs=2)
    again = models.find(np.asarray(Image.fromarray(patch.pixels).resize((512, 512))))
    assert len(again) == 1


def test_an_embedding_follows_the_person_not_the_picture(models):
    small = models.embed(np.asarray(images.selfie(1).resize((300, 300))))
    large = models.embed(np.asarray(images.selfie(1).resize((1500, 1500))))
    dark = models.embed(np.asarray(images.relit(images.selfie(1), -2)))
    stranger = models.embed(np.asarray(images.other(1)))
    assert small.shape == (128,)
    assert float(np.linalg.norm(small)) == pytest.approx(1, abs=1e-4)
    assert similarity(small, large) > 0.9
    assert similarity(small, dark) > 0.8
    assert similarity(small, stranger) < 0.3
