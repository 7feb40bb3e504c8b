"""Headshots as pixels, and as JPEG files."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.durable_files import write_atomically

Pixels = NDArray[np.uint8]  # (height, width, 3), RGB
Finish = Callable[[Path, Pixels], None]  # brings a picture to its file, whole or absent
JPEG_QUALITY = 95


def encode_jpeg(pixels: Pixels) -> bytes:
    """Without chroma subsampling: skin against hair keeps its edge."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def write_picture(path: Path, pixels: Pixels) -> None:
    """An unmarked JPEG, whole or not at all. Raises OSError."""
    write_atomically(path, encode_jpeg(pixels))


def write_lossless(path: Path, pixels: Pixels) -> None:
    """A PNG that gives back the very pixels, whole or not at all. Raises OSError."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=1)
    write_atomically(path, buffer.getvalue())


def read_picture(path: Path) -> Pixels:
    """RGB pixels of a picture file. Raises OSError."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
