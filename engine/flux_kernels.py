"""Kernels inside FLUX's blocks that torch's compiler makes slowly: GELU with rounding to float8 it makes in
two passes that compute GELU twice, norm and rotary embedding at a third of the memory's speed (H200, torch
2.11). What each computes stands in `engine.flux_ops`.

They are Triton's, which comes with torch's CUDA builds alone: this module is for where there is a GPU.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.quantisation import FLOAT8

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

HAS_TRITON = triton is not None
# Numbers of a row that a thread of the row kernels holds.
_NUMBERS_A_THREAD = 32
_THREADS_A_WARP = 32
# Heads that a program of the rotation takes, and its warps.
_HEADS, _WARPS = 8, 2

if triton is not None:
    # Without types: its compiler takes them for what the kernel computes with.
    @triton.jit  # type: ignore[untyped-decorator]
    def _round_rows(  # type: ignore[no-untyped-def]  # noqa: ANN202
        left, given, hidden, values, rounded, scales,  # noqa: ANN001
        left_stride, given_stride, hidden_stride,  # noqa: ANN001
        LEFT: tl.constexpr, RIGHT: tl.constexpr, BLOCK: tl.constexpr,
        GRADIENT: tl.constexpr, KEEP: tl.constexpr,
    ):  # fmt: skip
        """One row, all of it in registers: read once, written once."""
        row, place = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
        inside = place < LEFT + RIGHT
        made = tl.zeros([BLOCK], tl.float32)
        if RIGHT > 0:
            of_right = inside & (place >= LEFT)
            x = tl.load(hidden + row * hidden_stride + (place - LEFT), mask=of_right, other=0.0)
            x = x.to(tl.float32)
            # 1 / (1 + exp(-2 sqrt(2 / pi) (x + 0.044715 x^3))): the tanh of GELU, cheaper.
            gate = tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))
            if GRADIENT:
                slope = 1.5957691216057308 * (1.0 + 0.134145 * x * x)
                g = tl.load(given + row * given_stride + (place - LEFT), mask=of_right, other=0.0)
                made = g.to(tl.float32) * (gate + x * gate * (1.0 - gate) * slope)
            else:
                made = x * gate
        if LEFT > 0:
            as_it_is = tl.load(left + row * left_stride + place, mask=place < LEFT, other=0.0)
            made = tl.where(place < LEFT, as_it_is.to(tl.float32), made)
        target = row * (LEFT + RIGHT) + place
        if KEEP:
            tl.store(values + target, made.to(values.dtype.element_ty), mask=inside)
        scale = tl.maximum(tl.max(tl.abs(made), axis=0) / 448.0, 1e-12)
        within = tl.minimum(tl.maximum(made / scale, -448.0), 448.0)
        tl.store(rounded + target, within.to(tl.float8e4nv), mask=inside)
        tl.store(scales + row, scale)

    # Pairs of neighbours are loaded together and parted in registers: what lies at `column ^ 1` would be
    # loaded number by number, at a fifth of the speed.

    @triton.jit
    def _pairs(numbers):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        """(heads, width) -> the even and the odd ones, (heads, width / 2) each, in float32."""
        heads: tl.constexpr = numbers.shape[0]
        half: tl.constexpr = numbers.shape[1] // 2
        return tl.split(tl.reshape(numbers.to(tl.float32), (heads, half, 2)))

    @triton.jit
    def _unpaired(even, odd):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        heads: tl.constexpr = even.shape[0]
        width: tl.constexpr = 2 * even.shape[1]
        return tl.reshape(tl.join(even, odd), (heads, width))

    @triton.jit  # type: ignore[untyped-decorator]
    def _rotate(  # type: ignore[no-untyped-def]  # noqa: ANN202
        projected, query, key, value, query_weight, key_weight, cos, sin,  # noqa: ANN001
        batch_stride, row_stride, first, all_tokens, eps,  # noqa: ANN001
        HEADS: tl.constexpr, WIDTH: tl.constexpr, HEADS_BLOCK: tl.constexpr, WIDTH_BLOCK: tl.constexpr,
    ):  # fmt: skip
        """Query, key or value of one token of one picture, some heads."""
        token, batch = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
        part, group = tl.program_id(2) % 3, tl.program_id(2) // 3
        head = (group * HEADS_BLOCK + tl.arange(0, HEADS_BLOCK))[:, None]
        column = tl.arange(0, WIDTH_BLOCK)[None, :]
        inside, across = (head < HEADS) & (column < WIDTH), column < WIDTH
        place = head * WIDTH + column
        source = projected + batch * batch_stride + token * row_stride + part * HEADS * WIDTH
        target = (batch * all_tokens + first + token) * HEADS * WIDTH + place
        given = tl.load(source + place, mask=inside, other=0.0)
        if part == 2:
            tl.store(value + target, given, mask=inside)
        else:
            weight = query_weight if part == 0 else key_weight
            out = query if part == 0 else key
            angle = (first + token) * WIDTH + column
            c, _ = _pairs(tl.load(cos + angle, mask=across, other=0.0))
            s, _ = _pairs(tl.load(sin + angle, mask=across, other=0.0))
            x = given.to(tl.float32)
            r = tl.rsqrt(tl.sum(x * x, axis=1) / WIDTH + eps)[:, None]
            w = tl.load(weight + column, mask=across, other=0.0).to(tl.float32)
            even, odd = _pairs(x * r * w)
            turned = _unpaired(even * c - odd * s, odd * c + even * s)
            tl.store(out + target, turned.to(out.dtype.element_ty), mask=inside)

    @triton.jit  # type: ignore[untyped-decorator]
    def _rotate_back(  # type: ignore[no-untyped-def]  # noqa: ANN202
        query, key, value, projected, made, query_weight, key_weight, cos, sin,  # noqa: ANN001
        query_batch, query_token, query_head, key_batch, key_token, key_head,  # noqa: ANN001
        value_batch, value_token, value_head, batch_stride, row_stride,  # noqa: ANN001
        first, tokens, eps,  # noqa: ANN001
        HEADS: tl.constexpr, WIDTH: tl.constexpr, HEADS_BLOCK: tl.constexpr, WIDTH_BLOCK: tl.constexpr,
    ):  # fmt: skip
        """The gradient of query, key or value of one token of one picture, some heads."""
        token, batch = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
        part, group = tl.program_id(2) % 3, tl.program_id(2) // 3
        head = (group * HEADS_BLOCK + tl.arange(0, HEADS_BLOCK))[:, None]
        column = tl.arange(0, WIDTH_BLOCK)[None, :]
        inside, across = (head < HEADS) & (column < WIDTH), column < WIDTH
        place = part * HEADS * WIDTH + head * WIDTH + column
        target = made + (batch * tokens + token) * 3 * HEADS * WIDTH + place
        if part == 2:
            begin = value + batch * value_batch + (first + token) * value_token + head * value_head
            tl.store(target, tl.load(begin + column, mask=inside, other=0.0), mask=inside)
        else:
            gradient = query if part == 0 else key
            from_batch = query_batch if part == 0 else key_batch
            from_token = query_token if part == 0 else key_token
            from_head = query_head if part == 0 else key_head
            weight = query_weight if part == 0 else key_weight
            angle = (first + token) * WIDTH + column
            c, _ = _pairs(tl.load(cos + angle, mask=across, other=0.0))
            s, _ = _pairs(tl.load(sin + angle, mask=across, other=0.0))
            begin = gradient + batch * from_batch + (first + token) * from_token + head * from_head
            even, odd = _pairs(tl.load(begin + column, mask=inside, other=0.0))
            source = projected + batch * batch_stride + token * row_stride + place
            x = tl.load(source, mask=inside, other=0.0).to(tl.float32)
            w = tl.load(weight + column, mask=across, other=0.0).to(tl.float32)
            r = tl.rsqrt(tl.sum(x * x, axis=1) / WIDTH + eps)[:, None]
            n, of_normed = x * r, _unpaired(even * c + odd * s, odd * c - even * s) * w
            mean = (tl.sum(of_normed * n, axis=1) / WIDTH)[:, None]
            tl.store(target, (r * (of_normed - n * mean)).to(made.dtype.element_ty), mask=inside)


def round_rows(
    left: Tensor | None, given: Tensor | None, hidden: Tensor | None, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """[left | GELU(hidden)], or with given [left | given * GELU'(hidden)]: in their own type if kept, in
    float8, and the rows' scales."""
    some = left if hidden is None else hidden
    assert some is not None
    left_width, right_width = (0 if each is None else each.shape[1] for each in (left, hidden))
    rows, width = len(some), left_width + right_width
    values = some.new_empty((rows, width) if keep else (0,))
    rounded, scales = some.new_empty(rows, width, dtype=FLOAT8), some.new_empty(rows, 1, dtype=torch.float32)
    block = triton.next_power_of_2(width)
    inputs = [some if each is None else _in_rows(each) for each in (left, given, hidden)]
    with torch.cuda.device_of(some):  # type: ignore[no-untyped-call]
        _round_rows[(rows,)](
            *inputs, values, rounded, scales, *(each.stride(0) for each in inputs),
            left_width, right_width, block, given is not None, keep,
            num_warps=max(1, min(32, block // (_NUMBERS_A_THREAD * _THREADS_A_WARP))),
        )  # fmt: skip
    return values, rounded, scales


def rotate(
    projected: Sequence[Tensor], weights: Sequence[Tensor], cos: Tensor, sin: Tensor, heads: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `engine.flux_ops.rotated`."""
    projected = [_in_rows(each) for each in projected]
    batch, tokens = len(projected[0]), sum(each.shape[1] for each in projected)
    width, first = projected[0].shape[2] // heads // 3, 0
    query, key, value = (projected[0].new_empty(batch, tokens, heads, width) for _ in range(3))
    for place, each in enumerate(projected):
        with torch.cuda.device_of(each):  # type: ignore[no-untyped-call]
            _rotate[(each.shape[1], batch, 3 * -(-heads // _HEADS))](
                each, query, key, value, weights[2 * place], weights[2 * place + 1], cos, sin,
                each.stride(0), each.stride(1), first, tokens, eps, heads, width,
                _HEADS, triton.next_power_of_2(width), num_warps=_WARPS,
            )  # fmt: skip
        first += each.shape[1]
    return query, key, value


def rotate_back(
    gradients: Sequence[Tensor], projected: Sequence[Tensor], weights: Sequence[Tensor], cos: Tensor,
    sin: Tensor, heads: int, eps: float,
) -> list[Tensor]:  # fmt: skip
    """See `engine.flux_ops.rotated_gradient`."""
    gradients, projected = ([_in_rows(each) for each in given] for given in (gradients, projected))
    made, first = [torch.empty(each.shape, dtype=each.dtype, device=each.device) for each in projected], 0
    width = projected[0].shape[2] // heads // 3
    strides = [stride for each in gradients for stride in each.stride()[:3]]
    for place, (each, out) in enumerate(zip(projected, made, strict=True)):
        with torch.cuda.device_of(each):  # type: ignore[no-untyped-call]
            _rotate_back[(each.shape[1], len(each), 3 * -(-heads // _HEADS))](
                *gradients, each, out, weights[2 * place], weights[2 * place + 1], cos, sin, *strides,
                each.stride(0), each.stride(1), first, each.shape[1], eps, heads, width,
                _HEADS, triton.next_power_of_2(width), num_warps=_WARPS,
            )  # fmt: skip
        first += each.shape[1]
    return made


def _in_rows(tensor: Tensor) -> Tensor:
    """With neighbours beside one another: some of torch's attention kernels give gradients that have not."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()
