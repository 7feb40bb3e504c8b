"""The watermark cannot be seen, and is found after what chats do to pictures; elsewhere it is not found."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine import watermark as module
from engine.watermark import MIN_MATCHING_BITS, Watermark, WatermarkUnusable

PORTRAITS = sorted((Path(__file__).parent.parent / "data").glob("other_*.jpg"))[:3]


@pytest.fixture(scope="module")
def watermark() -> Watermark:
    return Watermark()


def portrait(path: Path, side_px: int = 768) -> np.ndarray:
    with Image.open(path) as image:
        side = min(image.size)
        return np.asarray(image.convert("RGB").crop((0, 0, side, side)).resize((side_px, side_px)))


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def resized(pixels: np.ndarray, side_px: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((side_px, side_px)))


@pytest.mark.parametrize("path", PORTRAITS, ids=lambda path: path.stem)
def test_it_survives_a_chat_and_nobody_sees_it(watermark: Watermark, path: Path) -> None:
    plain = portrait(path)
    marked = watermark.embed(plain)
    error = np.mean((marked.astype(float) - plain) ** 2)
    assert 10 * np.log10(255**2 / error) > 40
    assert watermark.matching_bits(plain) < MIN_MATCHING_BITS - 5
    assert watermark.matching_bits(marked) == 32
    assert watermark.found(jpeg(marked, 60))
    assert watermark.found(jpeg(resized(marked, 512), 80))
    assert watermark.found(marked[20:-20, 20:-20])
    assert watermark.found(np.clip(marked * 1.15, 0, 255).astype(np.uint8))


def test_a_small_picture_is_marked_from_256_px_on(watermark: Watermark) -> None:
    small = portrait(PORTRAITS[0], 256)
    assert watermark.matching_bits(watermark.embed(small)) >= 31
    tiny = portrait(PORTRAITS[0], 128)
    assert np.array_equal(watermark.embed(tiny), tiny)


def test_pictures_need_not_be_square(watermark: Watermark) -> None:
    wide = portrait(PORTRAITS[1])[:600]
    marked = watermark.embed(wide)
    assert marked.shape == wide.shape
    assert watermark.found(marked)


def test_an_altered_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "encoder.onnx").write_bytes((module.FOLDER / "encoder.onnx").read_bytes() + b"\0")
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    with pytest.raises(WatermarkUnusable, match=r"encoder\.onnx"):
        Watermark().embed(portrait(PORTRAITS[0], 256))
    with pytest.raises(WatermarkUnusable, match=r"decoder\.onnx"):
        Watermark().found(portrait(PORTRAITS[0], 256))
