"""Numbers rounded to float8 with a scale for each row."""

from typing import NamedTuple

import torch
from torch import Tensor

FLOAT8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FLOAT8).max
LEAST_SCALE = 1e-12


class Rounded(NamedTuple):
    """What a product in float8 reads. values: the same in its own type, (..., width), where somebody reads
    that too, else empty. numbers: (rows, width). scale: (rows, 1), see `quantised`. shape: (...)."""

    values: Tensor
    numbers: Tensor
    scale: Tensor
    shape: torch.Size


def quantised(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, width) -> float8 of the same shape, and the float32 scale (rows, 1) that it was divided by."""
    scale = (rows.abs().amax(dim=1, keepdim=True).float() / LARGEST).clamp(min=LEAST_SCALE)
    return (rows.float() / scale).clamp(-LARGEST, LARGEST).to(FLOAT8), scale
