"""Products of activations and frozen weights in float8, with a scale for each row: twice bfloat16's rate on
Hopper and Ada. What is lost is rounding to 3 bits of mantissa; see docs/log.md for what that costs.

Not the storage of `engine.memory`, whose weights are unpacked before each use: here the product itself is
computed in float8 (`torch._scaled_mm`), and the activations are rounded too.
"""

from typing import Any

import torch
from torch import Tensor, nn

FLOAT8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FLOAT8).max
# Both sides of a product must be a multiple of it, a limit of the kernel.
MULTIPLE = 16
_LEAST_SCALE = 1e-12


def quantised(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, width) -> float8 of the same shape, and the float32 scale (rows, 1) that it was divided by."""
    scale = (rows.abs().amax(dim=1, keepdim=True).float() / LARGEST).clamp(min=_LEAST_SCALE)
    return (rows.float() / scale).clamp(-LARGEST, LARGEST).to(FLOAT8), scale


def product(rows: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """rows @ (weight * scale)' in the rows' own type: (..., inputs) -> (..., outputs).

    weight: (outputs, inputs) in float8. scale: (outputs, 1), float32.
    """
    flat, row_scale = quantised(rows.reshape(-1, rows.shape[-1]))
    made: Tensor = torch._scaled_mm(
        flat, weight.t(), scale_a=row_scale, scale_b=scale.t(), out_dtype=torch.bfloat16, use_fast_accum=True
    )
    return made.to(rows.dtype).reshape(*rows.shape[:-1], weight.shape[0])


class Float8Linear(nn.Module):
    """A linear for drawing. Its weight can be written again in place: addresses stay."""

    weight: Tensor
    scale: Tensor

    def __init__(self, outputs: int, inputs: int, bias: Tensor | None, device: torch.device) -> None:
        """The weight is undefined until `write`."""
        super().__init__()
        self.in_features, self.out_features = inputs, outputs
        self.bias = bias
        self.register_buffer("weight", torch.empty(outputs, inputs, dtype=FLOAT8, device=device))
        self.register_buffer("scale", torch.empty(outputs, 1, device=device))

    def write(self, first_row: int, weight: Tensor) -> None:
        """Take over some of its rows."""
        values, scale = quantised(weight)
        rows = slice(first_row, first_row + len(weight))
        self.weight[rows].copy_(values)
        self.scale[rows].copy_(scale)

    def forward(self, input: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        made = product(input, self.weight, self.scale)
        return made if self.bias is None else made + self.bias


class FrozenFloat8Linear(nn.Module):
    """A frozen linear for training: float8 in its forward product and in the gradient of its input.

    It holds the weight twice, with a scale for each row one way and the other: 2 bytes a weight.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bias = linear.in_features, linear.out_features, linear.bias
        weight = linear.weight.detach()
        for name, matrix in (("forth", weight), ("back", weight.t().contiguous())):
            values, scale = quantised(matrix)
            self.register_buffer(f"{name}_weight", values)
            self.register_buffer(f"{name}_scale", scale)

    def forward(self, input: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        made: Tensor = _Frozen.apply(  # type: ignore[no-untyped-call]
            input, self.forth_weight, self.forth_scale, self.back_weight, self.back_scale
        )
        return made if self.bias is None else made + self.bias


class _Frozen(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, scale: Tensor, back: Tensor, back_scale: Tensor
    ) -> Tensor:
        ctx.save_for_backward(back, back_scale)
        return product(input, weight, scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        back, back_scale = ctx.saved_tensors
        return product(gradients[0], back, back_scale), None, None, None, None


def computes(device: torch.device) -> bool:
    """Whether it has such products: GPUs from Ada and Hopper on, and the CPU, slowly."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 9)


def fits(linear: nn.Linear) -> bool:
    """Whether the kernel takes it."""
    return linear.in_features % MULTIPLE == 0 and linear.out_features % MULTIPLE == 0
