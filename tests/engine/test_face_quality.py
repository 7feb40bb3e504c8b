"""Measures of a face move with what they measure, and with nothing else."""

import numpy as np
import pytest
from PIL import ImageFilter

from engine import face_quality as quality
from engine.config import EngineConfig
from engine.faces import Face, FaceModels, FacePatch, cut
from tests import images


@pytest.fixture(scope="module")
def patch_of():
    models = FaceModels.load(EngineConfig(threads=1))

    def patch(picture) -> FacePatch:
        pixels = np.asarray(picture)
        return cut(pixels, models.find(pixels)[0])

    return patch


def test_blur_lowers_sharpness_step_by_step(patch_of):
    blurred = [images.selfie().filter(ImageFilter.GaussianBlur(radius)) for radius in (0, 1, 2, 4, 8)]
    measured = [quality.sharpness(patch_of(picture)) for picture in blurred]
    assert measured == sorted(measured, reverse=True)
    assert measured[0] > 3 * quality.MIN_SHARPNESS
    assert measured[-1] < quality.MIN_SHARPNESS / 3


def test_light_is_not_taken_for_blur(patch_of):
    usual = quality.sharpness(patch_of(images.selfie()))
    for stops in (-3, 0.5):
        assert quality.sharpness(patch_of(images.relit(images.selfie(), stops))) == pytest.approx(
            usual, rel=0.4
        )


def test_light_follows_the_exposure(patch_of):
    measured = [quality.light(patch_of(images.relit(images.selfie(), stops))) for stops in (-4, -2, 0, 2)]
    brightness, clipped = zip(*measured, strict=True)
    assert list(brightness) == sorted(brightness)
    assert clipped[2] < 0.05 < quality.MAX_CLIPPED < clipped[3]


def test_a_flat_gray_face_does_not_divide_by_nothing():
    face = Face((10.0, 10.0, 80.0, 80.0), ((30.0, 40.0),) * 5, 0.9)
    patch = FacePatch(np.full((100, 100, 3), 128, np.uint8), face)
    assert quality.sharpness(patch) == 0
    assert quality.flatness(patch) == 1
    assert quality.yaw_degrees(face) == 0


def face_at(left: float, top: float, nose: float = 0.0) -> Face:
    """A face of 200 px whose nose stands so many eye distances to the right."""
    points = ((50, 70), (150, 70), (100 + 100 * nose, 120), (65, 160), (135, 160))
    first, second, third, fourth, fifth = ((left + x, top + y) for x, y in points)
    return Face((left, top, 200.0, 200.0), (first, second, third, fourth, fifth), 0.9)


def test_the_turn_of_the_head_has_a_side():
    assert quality.yaw_degrees(face_at(0, 0)) == pytest.approx(0)
    assert quality.yaw_degrees(face_at(0, 0, 0.6)) == pytest.approx(45)
    assert quality.yaw_degrees(face_at(0, 0, -0.6)) == pytest.approx(-45)


@pytest.mark.parametrize(
    ("left", "top", "cut_off"),
    [(100, 100, False), (-45, 100, True), (255, 100, True), (100, -40, True), (100, 230, True)],
)
def test_a_face_at_the_edge_is_cut_off(left, top, cut_off):
    assert quality.is_cut_off(face_at(left, top), 400, 400) is cut_off
