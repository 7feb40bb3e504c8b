"""A frozen linear and its branch as one step forwards and one backwards: rows @ W' + bias + (rows @ down') @
up', the branch added in place.

Left to torch's compiler, the branch's part is written, read and added by itself, and in float8 each input is
read twice more to be rounded. Here both go through the kernels of `engine.flux_ops`. Weights are (outputs,
inputs), down is (rank, inputs), up (outputs, rank). Only rows, down and up have gradients.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.float8 import FrozenFloat8Linear, rounded_input, scaled_product
from engine.flux_ops import add_product, gelu_gradient_rows, quantised_rows
from engine.quantisation import Rounded


def branched(
    layer: nn.Linear | FrozenFloat8Linear, down: Tensor, up: Tensor, rows: Tensor | Rounded
) -> Tensor:
    """(..., inputs) -> (..., outputs). Rounded rows are for float8 alone, with their values."""
    if isinstance(layer, FrozenFloat8Linear):
        return _in_float8(layer, down, up, rows, 0)[0]
    assert isinstance(rows, Tensor)
    flat, shape = rows.reshape(-1, rows.shape[-1]), rows.shape[:-1]
    made: Tensor = _Plain.apply(flat, down, up, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
    return made.reshape(*shape, -1)


def branched_apart(
    layer: FrozenFloat8Linear, down: Tensor, up: Tensor, rows: Tensor | Rounded, raw_width: int
) -> tuple[Tensor, Tensor]:
    """The outputs but the last `raw_width`, and these: raw values, whose gradient is expected to be that of
    their GELU, as `branched_activated` gives it. Their own gradient is made where it is rounded."""
    plain, raw = _in_float8(layer, down, up, rows, raw_width)
    return plain, raw


def branched_activated(
    layer: FrozenFloat8Linear, down: Tensor, up: Tensor, left: Tensor | None, raw: Tensor
) -> Tensor:
    """Of [left | GELU(raw)]; left: (..., some), raw: (..., the other inputs), as `branched_apart` gave it."""
    shape = raw.shape[:-1]
    flat = None if left is None else left.reshape(-1, left.shape[-1])
    made: Tensor = _Float8.apply(  # type: ignore[no-untyped-call]
        flat, raw.reshape(-1, raw.shape[-1]), None, None, down, up, *layer.ways, layer.bias, 0
    )
    return made.reshape(*shape, -1)


def _in_float8(
    layer: FrozenFloat8Linear, down: Tensor, up: Tensor, rows: Tensor | Rounded, apart: int
) -> list[Tensor]:
    """The outputs; the last `apart` by themselves."""
    values, numbers, scale = rows[:3] if isinstance(rows, Rounded) else (rows, None, None)
    made = _Float8.apply(  # type: ignore[no-untyped-call]
        values.reshape(-1, values.shape[-1]), None, numbers, scale, down, up, *layer.ways, layer.bias, apart
    )
    return [each.reshape(*values.shape[:-1], -1) for each in (made if apart else [made])]


class _Plain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, down: Tensor, up: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        made: Tensor
        made, low = plain_branched(rows, down, up, weight, bias)
        ctx.save_for_backward(rows, low, down, up, weight)
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return *plain_branched_gradient(gradients[0], *ctx.saved_tensors), None, None


class _Float8(torch.autograd.Function):
    """raw: the rest of the input before its GELU. numbers, row_scale: left in float8, if somebody has rounded
    it. apart: so many outputs are given by themselves."""

    @staticmethod
    def forward(
        ctx: Any,
        left: Tensor | None,
        raw: Tensor | None,
        numbers: Tensor | None,
        row_scale: Tensor | None,
        down: Tensor,
        up: Tensor,
        weight: Tensor,
        scale: Tensor,
        back: Tensor,
        back_scale: Tensor,
        bias: Tensor | None,
        apart: int,
    ) -> Any:
        made, values, low = float8_branched(left, raw, numbers, row_scale, down, up, weight, scale, bias)
        plain, last = made[:, : made.shape[1] - apart], made[:, made.shape[1] - apart :]
        ctx.left_width = None if left is None else left.shape[1]
        ctx.has_raw, ctx.apart = raw is not None, apart
        # An empty part of what was made would keep all of it.
        kept = last if apart else made.new_empty(0)
        ctx.save_for_backward(left if raw is None else values, low, down, up, back, back_scale, kept)
        return (plain, last) if apart else made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, low, down, up, back, back_scale, last = ctx.saved_tensors
        if ctx.apart:
            gradient, rounded, scale = gelu_gradient_rows(gradients[0], gradients[1], last)
        else:
            gradient = gradients[0]
            rounded, scale = quantised_rows(gradient)
        rows, of_down, of_up = float8_branched_gradient(
            gradient, rounded, scale, values, low, down, up, back, back_scale
        )
        left, raw = rows, None
        if ctx.has_raw:
            width = ctx.left_width or 0
            left, raw = None if ctx.left_width is None else rows[:, :width], rows[:, width:]
        return left, raw, None, None, of_down, of_up, None, None, None, None, None, None


# ---------------------------------------------------------------- what the compiler takes as it is


@torch.library.custom_op("likeness::plain_branched", mutates_args=())
def plain_branched(
    rows: Tensor, down: Tensor, up: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(rows, inputs) -> (rows, outputs), and rows @ down' for the gradient."""
    return _beside(functional.linear(rows, weight, bias), rows, down, up)


@plain_branched.register_fake
def _(rows: Tensor, down: Tensor, up: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    return rows.new_empty(len(rows), len(weight)), rows.new_empty(len(rows), len(down))


@torch.library.custom_op("likeness::plain_branched_gradient", mutates_args=())
def plain_branched_gradient(
    gradient: Tensor, rows: Tensor, low: Tensor, down: Tensor, up: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Of rows, down and up."""
    return _beside_back(gradient @ weight, gradient, rows, low, down, up)


@plain_branched_gradient.register_fake
def _(
    gradient: Tensor, rows: Tensor, low: Tensor, down: Tensor, up: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return _like(rows, down, up)


@torch.library.custom_op("likeness::float8_branched", mutates_args=())
def float8_branched(
    left: Tensor | None,
    raw: Tensor | None,
    numbers: Tensor | None,
    row_scale: Tensor | None,
    down: Tensor,
    up: Tensor,
    weight: Tensor,
    scale: Tensor,
    bias: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Of left, or of [left | GELU(raw)]: the outputs; that input, if there is raw; and it times down'."""
    if left is not None and numbers is not None and row_scale is not None:
        values, rounded = left.new_empty(0), numbers
    else:
        values, rounded, row_scale = rounded_input(left, raw, True)
    rows = values if raw is not None else left
    assert rows is not None
    made = scaled_product(rounded, row_scale, weight, scale, bias, rows.dtype)
    made, low = _beside(made, rows, down, up)
    return made, values, low


@float8_branched.register_fake
def _(
    left: Tensor | None,
    raw: Tensor | None,
    numbers: Tensor | None,
    row_scale: Tensor | None,
    down: Tensor,
    up: Tensor,
    weight: Tensor,
    scale: Tensor,
    bias: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    given = left if raw is None else raw
    assert given is not None
    rows, values = len(given), (len(given), weight.shape[1]) if raw is not None else (0,)
    return given.new_empty(rows, len(weight)), given.new_empty(values), given.new_empty(rows, len(down))


@torch.library.custom_op("likeness::float8_branched_gradient", mutates_args=())
def float8_branched_gradient(
    gradient: Tensor,
    rounded: Tensor,
    row_scale: Tensor,
    rows: Tensor,
    low: Tensor,
    down: Tensor,
    up: Tensor,
    back: Tensor,
    back_scale: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Of rows, down and up; rounded, row_scale: the gradient in float8."""
    of_rows = scaled_product(rounded, row_scale, back, back_scale, None, gradient.dtype)
    return _beside_back(of_rows, gradient, rows, low, down, up)


@float8_branched_gradient.register_fake
def _(
    gradient: Tensor,
    rounded: Tensor,
    row_scale: Tensor,
    rows: Tensor,
    low: Tensor,
    down: Tensor,
    up: Tensor,
    back: Tensor,
    back_scale: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    return _like(rows, down, up)


def _beside(made: Tensor, rows: Tensor, down: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """What the linear made with the branch added in place, and rows @ down'."""
    low = rows @ down.t()
    return add_product(made, low, up), low


def _beside_back(
    of_rows: Tensor, gradient: Tensor, rows: Tensor, low: Tensor, down: Tensor, up: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Of rows (the linear's with the branch's added in place), down and up."""
    of_low = gradient @ up
    return add_product(of_rows, of_low, down.t()), of_low.t() @ rows, gradient.t() @ low


def _like(rows: Tensor, down: Tensor, up: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return rows.new_empty(rows.shape), down.new_empty(down.shape), up.new_empty(up.shape)
