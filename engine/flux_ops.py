"""Operations inside FLUX's blocks: on a GPU by `engine.flux_kernels`, elsewhere and where the operator wants
no kernels of our own by plain torch.

Matrices may be columns of wider ones; what is made is contiguous. GELU is the one by tanh. They have no
gradients of their own: whoever uses them knows how it goes back.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from engine import flux_kernels
from engine.quantisation import FLOAT8, quantised

log = logging.getLogger(__name__)

Kernel = Callable[..., Sequence[Tensor]]

# Ada and Hopper: below them there is no float8.
CAPABILITY = (8, 9)
# Relative, of a kernel: what bfloat16 and float8 may round another way.
_ERROR, _FLOAT8_ERROR = 0.005, 0.02


@torch.library.custom_op("likeness::gelu_rows", mutates_args=())
def gelu_rows(left: Tensor | None, hidden: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    """values = [left | GELU(hidden)]: (rows, some) and (rows, others) -> values, or nothing if they are not
    to be kept; them in float8 and the rows' scales, see `engine.quantisation`."""
    if usable(hidden.device):
        return flux_kernels.round_rows(left, None, hidden, keep)
    return _rounded(left, functional.gelu(hidden.float(), approximate="tanh"), hidden.dtype, keep)


@gelu_rows.register_fake
def _(left: Tensor | None, hidden: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    return _like(left, hidden, keep)


@torch.library.custom_op("likeness::gelu_gradient_rows", mutates_args=())
def gelu_gradient_rows(
    left: Tensor | None, gradient: Tensor, hidden: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """values = [left | gradient * GELU'(hidden)], as `gelu_rows` gives them, kept."""
    if usable(hidden.device):
        return flux_kernels.round_rows(left, gradient, hidden, True)
    x, root = hidden.float(), (2 / torch.pi) ** 0.5
    gate = torch.sigmoid(2 * root * (x + 0.044715 * x**3))
    slope = gate + x * gate * (1 - gate) * 2 * root * (1 + 3 * 0.044715 * x**2)
    return _rounded(left, gradient.float() * slope, hidden.dtype, True)


@gelu_gradient_rows.register_fake
def _(left: Tensor | None, gradient: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _like(left, hidden, True)


@torch.library.custom_op("likeness::quantised_rows", mutates_args=())
def quantised_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """See `engine.quantisation.quantised`."""
    if usable(rows.device):
        return flux_kernels.round_rows(rows, None, None, False)[1:]
    return quantised(rows)


@quantised_rows.register_fake
def _(rows: Tensor) -> tuple[Tensor, Tensor]:
    return rows.new_empty(rows.shape, dtype=FLOAT8), rows.new_empty(len(rows), 1, dtype=torch.float32)


@torch.library.custom_op("likeness::normed_rows", mutates_args=())
def normed_rows(
    hidden: Tensor, shift: Tensor, scale: Tensor, eps: float, keep: bool, rounding: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """values = (h - mean) / sqrt(variance + eps) * (1 + scale) + shift, each token by itself.

    hidden: (batch, tokens, width), shift, scale: (batch, width). values are of hidden's shape, or nothing if
    they are not to be kept; with `rounding` them in float8, (batch * tokens, width), and the rows' scales,
    else nothing."""
    if usable(hidden.device):
        return flux_kernels.norm_rows(hidden, shift, scale, eps, keep, rounding)
    h = hidden.float()
    apart = h - h.mean(dim=-1, keepdim=True)
    normed = apart * torch.rsqrt(apart.square().mean(dim=-1, keepdim=True) + eps)
    values = normed * (1 + scale.float()[:, None]) + shift.float()[:, None]
    rounded, scales = quantised(values.flatten(0, 1) if rounding else values.new_empty(0, values.shape[-1]))
    return (values if keep else values.new_empty(0)).to(hidden.dtype), rounded, scales


@normed_rows.register_fake
def _(
    hidden: Tensor, shift: Tensor, scale: Tensor, eps: float, keep: bool, rounding: bool
) -> tuple[Tensor, Tensor, Tensor]:
    rows, width = hidden.shape[0] * hidden.shape[1] if rounding else 0, hidden.shape[2]
    rounded = hidden.new_empty(rows, width, dtype=FLOAT8)
    values = hidden.new_empty(hidden.shape if keep else (0,))
    return values, rounded, hidden.new_empty(rows, 1, dtype=torch.float32)


@torch.library.custom_op("likeness::rotated", mutates_args=())
def rotated(
    projected: Sequence[Tensor], weights: Sequence[Tensor], cos: Tensor, sin: Tensor, heads: int, eps: float,
    copying: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Query, key and value of an attention, each (batch, all tokens, heads, width); the value, which is as it
    is projected, only if it is to be copied.

    projected: (batch, tokens, 3 * heads * width) each, query, key and value one after another. weights: of
    each, the norms' of query and key, (width,). cos, sin: (all tokens, width), float32. Query and key are
    x / sqrt(mean(x^2) + eps) * weight, then turned as diffusers' `apply_rotary_emb` does by default.
    """
    if usable(cos.device):
        return flux_kernels.rotate(projected, weights, cos, sin, heads, eps, copying)
    parts: list[list[Tensor]] = [[], [], []]
    for (queries, keys, values), (query_weight, key_weight), c, s in _each(
        projected, weights, cos, sin, heads
    ):
        parts[0].append(_turned(_normed(queries, eps)[0] * query_weight, c, s))
        parts[1].append(_turned(_normed(keys, eps)[0] * key_weight, c, s))
        parts[2].append(values if copying else values.new_empty(0, 0))
    query, key, value = (torch.cat(each, dim=1).to(projected[0].dtype) for each in parts)
    return query, key, value


@rotated.register_fake
def _(
    projected: Sequence[Tensor], weights: Sequence[Tensor], cos: Tensor, sin: Tensor, heads: int, eps: float,
    copying: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    first, width = projected[0], projected[0].shape[2] // heads // 3
    tokens = sum(each.shape[1] for each in projected)
    query, key = (first.new_empty(first.shape[0], tokens, heads, width) for _ in range(2))
    return query, key, query.new_empty(query.shape if copying else (0,))


@torch.library.custom_op("likeness::rotated_gradient", mutates_args=())
def rotated_gradient(
    query: Tensor, key: Tensor, value: Tensor, projected: Sequence[Tensor], weights: Sequence[Tensor],
    cos: Tensor, sin: Tensor, heads: int, eps: float,
) -> list[Tensor]:  # fmt: skip
    """Of each projected tensor, from those of what `rotated` made: n = x r with r = 1 / sqrt(mean(x^2) + eps)
    has the gradient g; then x has r (g - n mean(g n))."""
    if usable(cos.device):
        return flux_kernels.rotate_back((query, key, value), projected, weights, cos, sin, heads, eps)
    made, first = [], 0
    for (queries, keys, _), (query_weight, key_weight), c, s in _each(projected, weights, cos, sin, heads):
        last = first + queries.shape[1]
        of_query, of_key, of_value = (each[:, first:last].float() for each in (query, key, value))
        parts = [
            _of_normed(_turned_back(of_query, c, s) * query_weight, queries, eps),
            _of_normed(_turned_back(of_key, c, s) * key_weight, keys, eps),
            of_value,
        ]
        made.append(torch.cat([each.flatten(2) for each in parts], dim=2).to(query.dtype))
        first = last
    return made


@rotated_gradient.register_fake
def _(
    query: Tensor, key: Tensor, value: Tensor, projected: Sequence[Tensor], weights: Sequence[Tensor],
    cos: Tensor, sin: Tensor, heads: int, eps: float,
) -> list[Tensor]:  # fmt: skip
    return [each.new_empty(each.shape) for each in projected]


def add_product(out: Tensor, low: Tensor, other: Tensor) -> Tensor:
    """out += low @ other', in place: (rows, columns), (rows, ranks), (columns, ranks); few ranks.

    Not for a compiler to look into: part of other operations."""
    mine = low.shape[1] <= flux_kernels.MOST_RANKS and out.dtype == torch.bfloat16 and out.stride(1) == 1
    if mine and usable(out.device):
        return flux_kernels.add_product(out, low, other)
    return out.addmm_(low, other.t())


# ---------------------------------------------------------------- whether there are kernels


_allowed = True


def allow_kernels(allowed: bool) -> None:
    """Whether this process may use kernels of our own, see `[engine] kernels`. Of the process, as torch's own
    switches are: operations are given tensors alone."""
    global _allowed
    _allowed = allowed


def kernels_allowed() -> bool:
    """Whether it may; see `allow_kernels`."""
    return _allowed


def usable(device: torch.device) -> bool:
    """Whether there are kernels that may be used, and they are right."""
    return _allowed and _right(device)


@cache
def _right(device: torch.device) -> bool:
    """Each is held against plain torch once."""
    if device.type != "cuda" or not flux_kernels.HAS_TRITON:
        return False
    if torch.cuda.get_device_capability(device) < CAPABILITY:
        return False
    try:
        wrong = _wrong(device)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a compiler may lack, there is another way
        log.warning("no_flux_kernels", extra={"problem": f"{type(error).__name__}: {str(error)[:200]}"})
        return False
    if wrong:
        log.warning("flux_kernels_are_wrong", extra={"which": wrong})
    return not wrong


def _wrong(device: torch.device) -> list[str]:
    """The kernels whose results are not those of plain torch on the host."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).bfloat16()

    rows, hidden, gradient = drawn(5, 48), drawn(5, 160)[:, 80:], drawn(5, 80)
    angles = torch.randn(7, 16, generator=generator).repeat_interleave(2, dim=1)
    projected, weights = [drawn(2, 3, 288), drawn(2, 4, 288)], [drawn(32) for _ in range(4)]
    turning = (projected, weights, angles.cos(), angles.sin(), 3, 1e-6)
    # As attention gives them: heads before tokens, and of some kernels tokens last of all.
    turned = [drawn(2, 3, 7, 32).transpose(1, 2), drawn(2, 3, 32, 7).permute(0, 3, 1, 2)]
    turned.append(drawn(2, 7, 3, 32))
    norm = (drawn(2, 3, 80), drawn(2, 240)[:, 80:160], drawn(2, 240)[:, 160:], 1e-6, True, True)
    k = flux_kernels
    held: dict[str, tuple[Kernel, Kernel, tuple[Any, ...]]] = {
        "gelu_rows": (
            lambda left, h, keep: k.round_rows(left, None, h, keep),
            gelu_rows,
            (rows, hidden, True),
        ),
        "gelu_gradient_rows": (
            lambda left, given, h: k.round_rows(left, given, h, True),
            gelu_gradient_rows,
            (rows, gradient, hidden),
        ),
        "quantised_rows": (lambda r: k.round_rows(r, None, None, False)[1:], quantised_rows, (rows,)),
        "normed_rows": (k.norm_rows, normed_rows, norm),
        "add_product": (
            lambda out, low, other: [k.add_product(out.clone(), low, other)],
            lambda out, low, other: [out.float() + low.float() @ other.float().t()],
            (rows, drawn(5, 80), drawn(48, 80)),
        ),
        "rotated": (k.rotate, rotated, (*turning, True)),
        "rotated_gradient": (
            lambda *given: k.rotate_back(given[:3], *given[3:]),
            rotated_gradient,
            (*turned, *turning),
        ),
    }
    return [
        name
        for name, (kernel, plain, given) in held.items()
        if not _near(kernel(*_brought(given, device)), plain(*given))
    ]


def _brought(given: Any, device: torch.device) -> Any:
    """Its tensors there, strides and all."""
    if isinstance(given, Tensor):
        return given.to(device)
    return [_brought(each, device) for each in given] if isinstance(given, list | tuple) else given


def _near(made: Sequence[Tensor], wanted: Sequence[Tensor]) -> bool:
    """Within what rounding to float8 or bfloat16 may do to a few numbers."""
    for one, other in zip(made, wanted, strict=True):
        exact = other.float()
        error = (one.float().to(exact.device) - exact).norm() / exact.norm()
        if not float(error) < (_FLOAT8_ERROR if one.dtype == FLOAT8 else _ERROR):
            return False
    return True


# ---------------------------------------------------------------- plain torch


def _rounded(
    left: Tensor | None, right: Tensor, dtype: torch.dtype, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    values = right if left is None else torch.cat([left.float(), right], dim=1)
    return (values.to(dtype) if keep else values.new_empty(0, dtype=dtype), *quantised(values))


def _like(left: Tensor | None, hidden: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    rows, width = hidden.shape[0], hidden.shape[1] + (0 if left is None else left.shape[1])
    rounded = hidden.new_empty(rows, width, dtype=FLOAT8)
    values = hidden.new_empty((rows, width) if keep else (0,))
    return values, rounded, hidden.new_empty(rows, 1, dtype=torch.float32)


def _each(
    projected: Sequence[Tensor], weights: Sequence[Tensor], cos: Tensor, sin: Tensor, heads: int
) -> Iterator[tuple[list[Tensor], Sequence[Tensor], Tensor, Tensor]]:
    """Of each: query, key and value (batch, tokens, heads, width) in float32, the norms' weights, and the
    angles."""
    first = 0
    for place, each in enumerate(projected):
        last = first + each.shape[1]
        parts = [part.reshape(*part.shape[:2], heads, -1) for part in each.float().chunk(3, dim=-1)]
        yield parts, weights[2 * place : 2 * place + 2], cos[first:last, None], sin[first:last, None]
        first = last


def _normed(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """n = x r, and r."""
    r = torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps)
    return x * r, r


def _of_normed(gradient: Tensor, x: Tensor, eps: float) -> Tensor:
    n, r = _normed(x, eps)
    return r * (gradient - n * (gradient * n).mean(dim=-1, keepdim=True))


def _turned(y: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs of neighbours (a, b) -> (a cos - b sin, b cos + a sin)."""
    pairs = y.reshape(*y.shape[:-1], -1, 2)
    return y * cos + torch.stack([-pairs[..., 1], pairs[..., 0]], dim=-1).flatten(-2) * sin


def _turned_back(gradient: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    pairs = (gradient * sin).reshape(*gradient.shape[:-1], -1, 2)
    return gradient * cos + torch.stack([pairs[..., 1], -pairs[..., 0]], dim=-1).flatten(-2)
