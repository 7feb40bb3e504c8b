"""HEIC is decoded apart: whatever a file does to its decoder, the engine only hears that it is unreadable."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine import heic
from engine.heic import heic_as_png
from tests import images

HEIC = images.HEIC.read_bytes()
MEGAPIXEL = 1_000_000


def test_the_picture_comes_upright_and_without_what_was_said_beside_it():
    png = heic_as_png(HEIC, MEGAPIXEL, 2048)
    assert png is not None
    picture = Image.open(io.BytesIO(png))
    upright = np.asarray(images.selfie(2).resize((640, 640)), float)
    assert np.abs(np.asarray(picture, float) - upright).mean() < 6
    assert not picture.getexif()
    assert b"Phone" in HEIC and b"Phone" not in png


def test_the_picture_is_made_smaller_where_it_is_too_large():
    png = heic_as_png(HEIC, MEGAPIXEL, 320)
    assert png is not None
    assert Image.open(io.BytesIO(png)).size == (320, 320)


def test_too_many_pixels():
    assert heic_as_png(HEIC, 640 * 640, 2048) is not None
    assert heic_as_png(HEIC, 640 * 640 - 1, 2048) is None


def test_a_file_that_kills_its_decoder():
    """One altered byte, in the type of the item that holds EXIF: pi-heif 1.4.0 ends its process over it."""
    with pytest.raises(ValueError, match="exit status"):
        heic_as_png(HEIC.replace(b"Exif", b"Exi\xff", 1), MEGAPIXEL, 2048)


def test_a_decoder_that_takes_too_long(monkeypatch):
    monkeypatch.setattr(heic, "TIME_LIMIT_SECONDS", 0.001)
    with pytest.raises(ValueError, match="in time"):
        heic_as_png(HEIC, MEGAPIXEL, 2048)


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_damaged_file_gives_a_picture_or_an_error(data):
    content = bytearray(HEIC)
    for _ in range(6):
        content[data.draw(st.integers(0, 1000))] = data.draw(st.integers(0, 255))
    try:
        png = heic_as_png(bytes(content), MEGAPIXEL, 2048)
    except ValueError:
        return
    assert png is None or Image.open(io.BytesIO(png)).size
