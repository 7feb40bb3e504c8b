"""Weights of a frozen linear in fewer bytes, and back: pure functions over tensors.

fp8: float8_e4m3fn with a scale for each output (Micikevicius et al., arXiv 2209.05433). int4: the sixteen
values of NF4, which suit normally distributed weights, with a scale for each 64 of them (Dettmers et al.,
arXiv 2305.14314, appendix E).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Weights = Literal["bf16", "fp8", "int4"]
FP8 = torch.float8_e4m3fn
GROUP = 64  # weights of one NF4 scale
NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


@dataclass(frozen=True)
class Packing:
    """pack: a weight (outputs, inputs) to its parts. unpack: the parts to a weight of that type and shape."""

    pack: Callable[[Tensor], list[Tensor]]
    unpack: Callable[[Sequence[Tensor], torch.dtype, tuple[int, int]], Tensor]


def _pack_fp8(weight: Tensor) -> list[Tensor]:
    most = torch.finfo(FP8).max
    # The scale is rounded first and then divided by: its own rounding costs nothing.
    scale = (weight.float().abs().amax(dim=1, keepdim=True) / most).to(weight.dtype)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return [(weight.float() / scale.float()).clamp(-most, most).to(FP8), scale]


def _unpack_fp8(parts: Sequence[Tensor], dtype: torch.dtype, _shape: tuple[int, int]) -> Tensor:
    values, scale = parts
    return values.to(dtype).mul_(scale.to(dtype))


def _pack_nf4(weight: Tensor) -> list[Tensor]:
    flat = functional.pad(weight.flatten().float(), (0, -weight.numel() % GROUP)).view(-1, GROUP)
    scale = flat.abs().amax(dim=1, keepdim=True).to(weight.dtype)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    levels = torch.tensor(NF4, device=weight.device)
    codes = torch.bucketize(flat / scale.float(), (levels[1:] + levels[:-1]) / 2, out_int32=True)
    pairs = codes.view(-1, 2).to(torch.uint8)
    return [pairs[:, 0] << 4 | pairs[:, 1], scale]


def _unpack_nf4(parts: Sequence[Tensor], dtype: torch.dtype, shape: tuple[int, int]) -> Tensor:
    codes, scale = parts
    levels = torch.tensor(NF4, device=codes.device, dtype=dtype)
    # All 256 bytes as pairs of values: one look-up a byte.
    table = torch.stack([levels.repeat_interleave(16), levels.repeat(16)], dim=1)
    values = functional.embedding(codes.int(), table).view(-1, GROUP).mul_(scale.to(dtype))
    return values.flatten()[: shape[0] * shape[1]].view(shape)


PACKINGS: dict[str, Packing] = {
    "bf16": Packing(lambda weight: [weight], lambda parts, dtype, _shape: parts[0].to(dtype)),
    "fp8": Packing(_pack_fp8, _unpack_fp8),
    "int4": Packing(_pack_nf4, _unpack_nf4),
}
