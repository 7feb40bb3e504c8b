"""Products of activations and frozen weights in float8, with a scale for each row: twice bfloat16's rate on
Hopper and Ada. What is lost is rounding to 3 bits of mantissa; see docs/log.md for what that costs.

Not the storage of `engine.memory`, whose weights are unpacked before each use: here the product itself is
computed in float8 (`torch._scaled_mm`), and the activations are rounded too.
"""

from typing import Any

import torch
from torch import Tensor, nn

from engine.flux_ops import gelu_rows, quantised_rows
from engine.quantisation import FLOAT8, Rounded, quantised

# Both sides of a product must be a multiple of it, a limit of the kernel.
MULTIPLE = 16


def scaled_product(
    rounded: Tensor, row_scale: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """(rounded * row_scale) @ (weight * scale)' + bias: (rows, inputs) -> (rows, outputs) in `dtype`.

    rounded, weight: float8; weight is (outputs, inputs). row_scale: (rows, 1), scale: (outputs, 1), float32.
    """
    within = bias if rounded.is_cuda else None
    made: Tensor = torch._scaled_mm(
        rounded, weight.t(), scale_a=row_scale, scale_b=scale.t(), bias=within,
        out_dtype=torch.bfloat16, use_fast_accum=True,
    )  # fmt: skip
    made = made.to(dtype)
    return made if bias is None or within is not None else made + bias


def rounded_input(left: Tensor | None, raw: Tensor | None, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Of matrices: left, or [left | GELU(raw)], of which it is also given in its own type if `keep`; it in
    float8, and the rows' scales. See `engine.flux_ops`."""
    if raw is not None:
        values, rounded, scale = gelu_rows(left, raw, keep)
        return values, rounded, scale
    assert left is not None
    return left.new_empty(0), *quantised_rows(left)


@torch.library.custom_op("likeness::float8_product", mutates_args=())
def float8_product(
    left: Tensor | None, raw: Tensor | None, weight: Tensor, scale: Tensor, bias: Tensor | None
) -> Tensor:
    """Of left, or of [left | GELU(raw)]: (..., inputs) -> (..., outputs). See `scaled_product`."""
    given = left if raw is None else raw
    assert given is not None
    flat = [None if each is None else each.reshape(-1, each.shape[-1]) for each in (left, raw)]
    _, rounded, row_scale = rounded_input(flat[0], flat[1], False)
    made = scaled_product(rounded, row_scale, weight, scale, bias, given.dtype)
    return made.reshape(*given.shape[:-1], len(weight))


@float8_product.register_fake
def _(left: Tensor | None, raw: Tensor | None, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    given = left if raw is None else raw
    assert given is not None
    return given.new_empty(*given.shape[:-1], len(weight))


@torch.library.custom_op("likeness::rounded_product", mutates_args=())
def rounded_product(
    numbers: Tensor, row_scale: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """`scaled_product`, as one step for a compiler."""
    return scaled_product(numbers, row_scale, weight, scale, bias, dtype)


@rounded_product.register_fake
def _(
    numbers: Tensor, row_scale: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    return numbers.new_empty(len(numbers), len(weight), dtype=dtype)


@torch.library.custom_op("likeness::unscaled_product", mutates_args=())
def unscaled_product(rounded: Tensor, weight: Tensor, unit: Tensor) -> Tensor:
    """rounded @ weight' in bfloat16, of float8: (rows, inputs), (outputs, inputs). unit: 1.0."""
    made: Tensor = torch._scaled_mm(
        rounded, weight.t(), scale_a=unit, scale_b=unit, out_dtype=torch.bfloat16, use_fast_accum=True
    )
    return made


@unscaled_product.register_fake
def _(rounded: Tensor, weight: Tensor, unit: Tensor) -> Tensor:
    return rounded.new_empty(len(rounded), len(weight), dtype=torch.bfloat16)


class Float8Linear(nn.Module):
    """A linear for drawing. Its weight can be written again in place: addresses stay."""

    weight: Tensor
    scale: Tensor
    unit: Tensor
    in_float8 = True  # it takes rounded rows; `apart` and `activated` may be asked
    reads_values = False  # beside the rounded ones

    def __init__(self, outputs: int, inputs: int, bias: Tensor | None, device: torch.device) -> None:
        """The weight is undefined until `write`."""
        super().__init__()
        self.in_features, self.out_features = inputs, outputs
        self.bias = bias
        self.register_buffer("weight", torch.empty(outputs, inputs, dtype=FLOAT8, device=device))
        self.register_buffer("scale", torch.empty(outputs, 1, device=device))
        self.register_buffer("unit", torch.ones(1, device=device))

    def write(self, first_row: int, weight: Tensor) -> None:
        """Take over some of its rows."""
        values, scale = quantised(weight)
        rows = slice(first_row, first_row + len(weight))
        self.weight[rows].copy_(values)
        self.scale[rows].copy_(scale)

    def forward(self, input: Tensor | Rounded) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        made: Tensor
        if isinstance(input, Rounded):
            like = input.values.dtype
            made = rounded_product(input.numbers, input.scale, self.weight, self.scale, self.bias, like)
            return made.reshape(*input.shape, -1)
        made = float8_product(input, None, self.weight, self.scale, self.bias)
        return made

    def apart(self, input: Tensor | Rounded, raw_width: int) -> tuple[Tensor, Tensor]:
        """Its outputs, those of the last `raw_width` apart."""
        made = self(input)
        return made[..., : made.shape[-1] - raw_width], made[..., made.shape[-1] - raw_width :]

    def activated(self, left: Tensor | None, raw: Tensor) -> Tensor:
        """Of [left | GELU(raw)]. What is compiled is scaled beside what is done next: of many inputs and few
        outputs the product without scales is a fifteenth faster (H200)."""
        made: Tensor
        if not torch.compiler.is_compiling():
            made = float8_product(left, raw, self.weight, self.scale, self.bias)
            return made
        flat = None if left is None else left.flatten(0, -2)
        _, rounded, row_scale = gelu_rows(flat, raw.flatten(0, -2), False)
        exact = unscaled_product(rounded, self.weight, self.unit).float() * row_scale * self.scale.t()
        exact = exact if self.bias is None else exact + self.bias.float()
        made = exact.to(raw.dtype).view(*raw.shape[:-1], -1)
        return made


class FrozenFloat8Linear(nn.Module):
    """A frozen linear for training: float8 in its forward product and in the gradient of its input.

    It holds the weight twice, with a scale for each row one way and the other: 2 bytes a weight.
    """

    forth_weight: Tensor
    forth_scale: Tensor
    back_weight: Tensor
    back_scale: Tensor

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
        made: Tensor = _Frozen.apply(input, *self.ways)  # type: ignore[no-untyped-call]
        return made if self.bias is None else made + self.bias

    @property
    def ways(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weight and scale of its own product, and of the gradient's."""
        return self.forth_weight, self.forth_scale, self.back_weight, self.back_scale


class _Frozen(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, scale: Tensor, back: Tensor, back_scale: Tensor
    ) -> Tensor:
        ctx.save_for_backward(back, back_scale)
        made: Tensor = float8_product(input, None, weight, scale, None)
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        back, back_scale = ctx.saved_tensors
        return float8_product(gradients[0], None, back, back_scale, None), None, None, None, None


def computes(device: torch.device) -> bool:
    """Whether it has such products: GPUs from Ada and Hopper on, and the CPU, slowly."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 9)


def fits(linear: nn.Linear) -> bool:
    """Whether the kernel takes it."""
    return linear.in_features % MULTIPLE == 0 and linear.out_features % MULTIPLE == 0
