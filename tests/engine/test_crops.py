"""Which parts of a selfie a training sees."""

from dataclasses import replace

import numpy as np
import pytest

from engine.crops import MAX_ENLARGING, PATCH_PX, Crop, Framing, bucket, cut_crop, plan_crops
from engine.demo_base.portrait import FACE_SHARE
from tests.engine.facts import facts

ALL = tuple(Framing)
SIZES = (512, 768, 1024)
# 3000 x 4000 with a face of 900 x 1200, as of a phone at arm's length.
LARGE = facts(0, 1, width_px=3000, height_px=4000, box=(1050.0, 1000.0, 900.0, 1200.0))


def by_framing(crops: list[Crop]) -> dict[Framing, list[Crop]]:
    return {framing: [crop for crop in crops if crop.framing is framing] for framing in ALL}


def test_a_large_photo_is_seen_in_every_framing_and_size() -> None:
    crops = plan_crops(LARGE, (3000, 4000), SIZES, ALL, 2.0)
    found = by_framing(crops)
    assert [len(found[framing]) for framing in (Framing.CLOSE_UP, Framing.HEAD_AND_SHOULDERS)] == [3, 3]
    assert sum(crop.share for crop in crops) == pytest.approx(1.0)
    assert all(crop.width_px % PATCH_PX == crop.height_px % PATCH_PX == 0 for crop in crops)
    close, portrait = found[Framing.CLOSE_UP][0], found[Framing.HEAD_AND_SHOULDERS][0]
    assert close.width < portrait.width
    assert LARGE.face_px / portrait.width == pytest.approx(FACE_SHARE)


def test_the_photo_as_given_goes_into_buckets_of_its_aspect_at_512_768_and_1024() -> None:
    """Portrait, landscape, and one that is too long for any."""
    for size, shapes in {
        (3000, 4000): {(448, 576), (672, 864), (896, 1152)},
        (4000, 3000): {(576, 448), (864, 672), (1152, 896)},
        (8000, 2000): {(704, 384), (1056, 576), (1408, 768)},
    }.items():
        known = facts(0, 1, width_px=size[0], height_px=size[1], box=(1050.0, 600.0, 450.0, 600.0))
        crops = by_framing(plan_crops(known, size, SIZES, ALL, 2.0))[Framing.AS_GIVEN]
        assert {(crop.width_px, crop.height_px) for crop in crops} == shapes
        assert all(crop.height_px / crop.height == pytest.approx(crop.scale) for crop in crops)


@pytest.mark.parametrize(
    "corner", [(0.0, 0.0), (2500.0, 0.0), (0.0, 3300.0), (2500.0, 3300.0), (1200.0, 1500.0)]
)
@pytest.mark.parametrize("side", [150.0, 400.0, 900.0])
def test_every_crop_shows_the_whole_face_and_each_landmark(corner: tuple, side: float) -> None:
    size, width, height = (3000, 4000), side * 0.8, side
    x, y = min(corner[0], size[0] - width), min(corner[1], size[1] - height)
    marks = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    landmarks = tuple((x + across * width, y + down * height) for across, down in marks)
    known = facts(0, 1, width_px=3000, height_px=4000, box=(x, y, width, height), landmarks=landmarks)
    for crop in plan_crops(known, size, SIZES, ALL, 2.0):
        for point in (*landmarks, (x, y), (x + width, y + height)):
            across, down = crop.place(point)
            assert -0.5 <= across <= crop.width_px + 0.5
            assert -0.5 <= down <= crop.height_px + 0.5


def test_nothing_is_enlarged_too_far() -> None:
    small = facts(0, 1, width_px=600, height_px=800, box=(250.0, 250.0, 100.0, 130.0))
    for crop in plan_crops(small, (600, 800), SIZES, ALL, 2.0):
        assert crop.scale <= MAX_ENLARGING + 1e-6
        assert crop.left >= 0
        assert crop.left + crop.width <= 600 + 1e-6
        assert crop.top >= 0
        assert crop.top + crop.height <= 800 + 1e-6


def test_a_tiny_photo_is_still_seen_once() -> None:
    tiny = facts(0, 1, width_px=200, height_px=220, box=(50.0, 50.0, 90.0, 110.0))
    crops = plan_crops(tiny, (200, 220), (512,), ALL, 2.0)
    assert crops
    assert sum(crop.share for crop in crops) == pytest.approx(1.0)


def test_without_facts_the_middle_is_taken() -> None:
    (crop,) = plan_crops(None, (300, 200), (64,), (Framing.HEAD_AND_SHOULDERS,), 1.0)
    assert (crop.left, crop.top, crop.width, crop.height) == (50.0, 0.0, 200.0, 200.0)
    assert (crop.width_px, crop.height_px) == (64, 64)


@pytest.mark.parametrize("side_px", SIZES)
@pytest.mark.parametrize("aspect", [0.2, 0.75, 1.0, 4 / 3, 16 / 9, 5.0])
def test_buckets_have_about_as_many_pixels_and_are_few(side_px: int, aspect: float) -> None:
    width, height = bucket(aspect, side_px, 2.0)
    assert width % (side_px // 8) == height % (side_px // 8) == 0
    assert 0.8 < width * height / side_px**2 < 1.25
    assert 1 / 2.4 < width / height < 2.4


def test_a_point_of_the_photo_is_found_in_the_crop() -> None:
    picture = np.zeros((400, 300, 3), np.uint8)
    picture[200:204, 150:154] = 255
    crop = Crop(Framing.CLOSE_UP, 50.0, 100.0, 200.0, 200.0, 400, 400)
    made = cut_crop(picture, crop)
    assert made.shape == (400, 400, 3)
    x, y = crop.place((152.0, 202.0))
    assert made[round(y), round(x)].min() > 200
    assert made.mean() < 2
    shrunk = cut_crop(picture, replace(crop, width_px=50, height_px=50))
    assert shrunk.mean() == pytest.approx(made.mean(), abs=0.3)


def test_no_picture_is_mirrored() -> None:
    picture = np.zeros((300, 300, 3), np.uint8)
    picture[:, :150] = 255
    for crop in plan_crops(facts(0, 1, width_px=300, height_px=300, box=(100.0, 100.0, 90.0, 110.0)),
                           (300, 300), (64,), ALL, 1.0):  # fmt: skip
        made = cut_crop(picture, crop)
        assert made[:, : crop.width_px // 4].mean() > made[:, -(crop.width_px // 4) :].mean()
