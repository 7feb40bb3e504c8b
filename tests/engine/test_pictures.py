"""Pictures as files."""

from pathlib import Path

import numpy as np

from engine.pictures import read_picture, write_picture


def test_a_picture_comes_back_nearly_as_it_was(tmp_path: Path) -> None:
    ramp = np.arange(64, dtype=np.uint8) * 4
    pixels = np.stack(
        [np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64)), np.full((64, 64), 90, np.uint8)], -1
    )
    write_picture(tmp_path / "new" / "0.jpg", pixels)
    back = read_picture(tmp_path / "new" / "0.jpg")
    assert back.shape == (64, 64, 3)
    assert np.abs(back.astype(int) - pixels).mean() < 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["0.jpg"]
