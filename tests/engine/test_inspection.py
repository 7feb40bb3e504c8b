"""The look at a picture: whose face, what is wrong with it, and whether it is the same picture as another."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFilter

from engine.config import EngineConfig
from engine.faces import FaceModels, similarity
from engine.inspection import Inspector, backdrop, same_picture
from tests import images


@pytest.fixture(scope="module")
def inspector() -> Inspector:
    return Inspector(EngineConfig())


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"))


def test_a_portrait_has_one_whole_sharp_face(inspector: Inspector) -> None:
    seen = inspector.inspect(pixels(images.selfie()))
    assert seen.face is not None
    assert (seen.face.alone, seen.face.whole) == (True, True)
    assert seen.face.sharpness > 0.005
    assert seen.face.eyes_closed < 0.3
    assert seen.unsafe < 0.1


def test_the_person_is_recognised_and_somebody_else_is_not(inspector: Inspector) -> None:
    mine, again = (inspector.face(pixels(Image.open(path))) for path in images.SELFIES[:2])
    other = inspector.face(pixels(images.other(1)))
    assert similarity(mine.identity, again.identity) > 0.6
    assert similarity(mine.identity, other.identity) < 0.45


def test_a_second_face_is_not_overlooked(inspector: Inspector) -> None:
    one, two = images.selfie().resize((400, 400)), images.other(1).resize((400, 400))
    both = Image.new("RGB", (800, 400))
    both.paste(one, (0, 0))
    both.paste(two, (400, 0))
    assert inspector.face(pixels(both)).alone is False


def test_a_face_that_is_cut_off_or_blurred_is_noticed(inspector: Inspector) -> None:
    picture = images.selfie()
    width, height = picture.size
    assert inspector.face(pixels(picture.filter(ImageFilter.GaussianBlur(width / 60)))).sharpness < 0.004
    assert inspector.face(pixels(picture.crop((0, int(height * 0.42), width, height)))) is None or (
        inspector.face(pixels(picture.crop((0, int(height * 0.3), width, height)))).whole is False
    )


def test_closed_eyes_are_noticed(inspector: Inspector) -> None:
    """Lids made of the skin below the eyes, with a dark line of lashes."""
    picture = pixels(images.selfie()).copy()
    (face, *_) = FaceModels.load(EngineConfig()).find(picture)
    opened = inspector.face(picture).eyes_closed
    (right_x, right_y), (left_x, left_y) = face.landmarks[:2]
    wide, high = int(0.26 * abs(left_x - right_x)), int(0.13 * abs(left_x - right_x))
    for x, y in ((int(right_x), int(right_y)), (int(left_x), int(left_y))):
        below = picture[y + high : y + 3 * high, x - wide : x + wide]
        picture[y - high : y + high, x - wide : x + wide] = below
        picture[y + high // 2 : y + high // 2 + 3, x - wide : x + wide] //= 2
    assert inspector.face(picture).eyes_closed > opened + 0.15


def test_a_wall_has_no_face(inspector: Inspector) -> None:
    assert inspector.inspect(pixels(Image.new("RGB", (300, 300), (90, 120, 90)))).face is None


def test_a_copy_is_told_from_another_picture_of_the_same_person(inspector: Inspector) -> None:
    first, second = (Image.open(path).convert("RGB") for path in images.SELFIES[:2])
    width, height = first.size
    copy = first.crop((width // 60, height // 60, width, height)).resize((256, 256)).point(lambda v: v * 0.8)
    original, copied, other = (inspector.face(pixels(each)).thumbnail for each in (first, copy, second))
    assert same_picture(copied, original) > 0.95
    assert same_picture(other, original) < 0.95


def test_the_backdrop_is_what_lies_in_the_upper_corners() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[:30, :15] = picture[:30, -15:] = 255
    assert backdrop(picture) == pytest.approx(1.0)
    assert backdrop(255 - picture) == pytest.approx(0.0)


def test_the_networks_are_loaded_once_and_late(monkeypatch: pytest.MonkeyPatch) -> None:
    loads, load = [], FaceModels.load
    monkeypatch.setattr(FaceModels, "load", lambda config: loads.append(1) or load(config))
    late = Inspector(EngineConfig())
    assert loads == []
    late.face(pixels(images.selfie()))
    late.face(pixels(images.selfie()))
    assert loads == [1]


def test_threads_look_one_after_another(inspector: Inspector, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, most = list[int](), list[int]()

    def look(*_: object) -> None:
        at_once.append(1)
        time.sleep(0.02)
        most.append(len(at_once))
        at_once.pop()

    monkeypatch.setattr(inspector, "_face", look)
    picture = pixels(images.selfie())
    with ThreadPoolExecutor(max_workers=4) as threads:
        for look_at in (inspector.inspect, inspector.face) * 4:
            threads.submit(look_at, picture)
    assert most == [1] * 8
