"""Contact sheets, to look at."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor


def to_bytes(pictures: Tensor) -> Tensor:
    """-1..1 -> uint8."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def save_sheet(pictures: Tensor, path: Path, columns: int = 8) -> None:
    """(n, 3, h, w) in -1..1 as one PNG or JPEG."""
    tiles = to_bytes(pictures).permute(0, 2, 3, 1).cpu().numpy()
    blank = [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = np.concatenate([tiles, np.stack(blank)]) if blank else tiles
    height, width = rows.shape[1:3]
    grid = rows.reshape(-1, columns, height, width, 3).swapaxes(1, 2).reshape(-1, columns * width, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), grid[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
