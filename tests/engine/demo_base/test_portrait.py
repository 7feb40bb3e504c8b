"""The crop that training data and selfies share."""

import numpy as np
import pytest

from engine.demo_base.portrait import FACE_CENTRE, FACE_SHARE, cut, portrait_square


def test_the_face_has_its_share_and_its_place() -> None:
    square = portrait_square((400.0, 300.0, 100.0, 144.0), 1000, 1000)
    assert 120.0 / square.side == pytest.approx(FACE_SHARE)
    assert (450.0 - square.left) / square.side == pytest.approx(FACE_CENTRE[0])
    assert (372.0 - square.top) / square.side == pytest.approx(FACE_CENTRE[1])


@pytest.mark.parametrize(
    "box", [(0.0, 0.0, 90.0, 120.0), (310.0, 380.0, 90.0, 120.0), (20.0, 10.0, 300.0, 390.0)]
)
def test_the_square_stays_inside_the_picture(box: tuple[float, float, float, float]) -> None:
    square = portrait_square(box, 400, 500)
    assert square.left >= 0 and square.top >= 0
    assert square.left + square.side <= 400 and square.top + square.side <= 500


def test_the_cut_shows_what_lay_in_the_square() -> None:
    picture = np.zeros((900, 900, 3), np.uint8)
    picture[300:600, 300:600] = 255
    inside = cut(picture, portrait_square((380.0, 380.0, 60.0, 60.0), 900, 900), 64)
    assert inside.shape == (64, 64, 3)
    assert inside.min() > 250
