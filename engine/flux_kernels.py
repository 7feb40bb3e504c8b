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
compiled: list[str] = []  # the names of Triton's kernels, each time that one is compiled in this process
# Of a bucket: a kernel that was compiled for one number of tokens is another's too.
_OPEN = ["rows", "first", "tokens", "all_tokens"]
# Of a row: numbers at a time, the second where that is faster, and how many of them a thread has.
_PIECE, _LONG_PIECE, _NUMBERS_A_THREAD, _THREADS_A_WARP = 2048, 4096, 8, 32
# Of a product of low rank: rows, columns and ranks at a time; more ranks in all go to cuBLAS.
_TILE, _RANKS, MOST_RANKS = (64, 128), 64, 256
# Heads that a program of the rotation takes, and its warps.
_HEADS, _WARPS = 8, 2

if triton is not None:
    triton.knobs.runtime.jit_post_compile_hook = lambda **made: compiled.append(made["fn"].name)

    # Without types: its compiler takes them for what the kernel computes with.
    @triton.jit  # type: ignore[untyped-decorator]
    def _of_gelu(x, gradient, GRADIENT: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        """GELU by tanh, or a gradient times its slope; float32."""
        square = x * x
        # 1 / (1 + exp(-2 sqrt(2 / pi) (x + 0.044715 x^3))) is the tanh, cheaper; and this the division.
        below = 1.0 + tl.exp(x * (-1.5957691216057308 - 0.07135481282533914 * square))
        gate = tl.rsqrt(below * below)
        made = x * gate
        if GRADIENT:
            slope = 1.5957691216057308 + 0.21406443847601742 * square
            made = gradient * (gate + (made - made * gate) * slope)
        return made

    @triton.jit
    def _scale_of(most):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        """Of a row with these largest numbers, see `engine.quantisation`."""
        return tl.maximum(tl.max(most, axis=0) / 448.0, 1e-12)

    @triton.jit  # type: ignore[untyped-decorator]
    def _round_rows(  # type: ignore[no-untyped-def]  # noqa: ANN202
        left, given, hidden, values, rounded, scales,  # noqa: ANN001
        left_stride, given_stride, hidden_stride,  # noqa: ANN001
        LEFT: tl.constexpr, RIGHT: tl.constexpr, PIECE: tl.constexpr,
        GRADIENT: tl.constexpr, KEEP: tl.constexpr,
    ):  # fmt: skip
        """One row, all of it in registers: read once, written once. In pieces, so that what is copied costs
        no GELU."""
        row, column = tl.program_id(0).to(tl.int64), tl.arange(0, PIECE)
        target = row * (LEFT + RIGHT) + column
        pieces, most = (), tl.zeros([PIECE], tl.float32)
        for first in tl.static_range(0, LEFT, PIECE):
            inside = column < LEFT - first
            copied = tl.load(left + row * left_stride + first + column, mask=inside, other=0.0)
            if KEEP:
                tl.store(values + target + first, copied, mask=inside)
            pieces = pieces + (copied.to(tl.float32),)  # type: ignore[assignment]  # noqa: RUF005
            most = tl.maximum(most, tl.abs(copied.to(tl.float32)))
        for first in tl.static_range(0, RIGHT, PIECE):
            inside = column < RIGHT - first
            x = tl.load(hidden + row * hidden_stride + first + column, mask=inside, other=0.0)
            g = x
            if GRADIENT:
                g = tl.load(given + row * given_stride + first + column, mask=inside, other=0.0)
            made = _of_gelu(x.to(tl.float32), g.to(tl.float32), GRADIENT)
            if KEEP:
                tl.store(values + target + LEFT + first, made.to(values.dtype.element_ty), mask=inside)
            pieces = pieces + (made,)  # type: ignore[assignment]  # noqa: RUF005
            most = tl.maximum(most, tl.abs(made))
        scale = _scale_of(most)
        share = 1.0 / scale
        for first in tl.static_range(0, LEFT, PIECE):
            within = (pieces[first // PIECE] * share).to(tl.float8e4nv)
            tl.store(rounded + target + first, within, mask=column < LEFT - first)
        for first in tl.static_range(0, RIGHT, PIECE):
            within = (pieces[(LEFT + PIECE - 1) // PIECE + first // PIECE] * share).to(tl.float8e4nv)
            tl.store(rounded + target + LEFT + first, within, mask=column < RIGHT - first)
        tl.store(scales + row, scale)

    @triton.jit  # type: ignore[untyped-decorator]
    def _norm_rows(  # type: ignore[no-untyped-def]  # noqa: ANN202
        hidden, shift, scale, values, rounded, scales,  # noqa: ANN001
        batch_stride, token_stride, shift_stride, scale_stride, eps,  # noqa: ANN001
        WIDTH: tl.constexpr, BLOCK: tl.constexpr, KEEP: tl.constexpr, ROUND: tl.constexpr,
    ):  # fmt: skip
        """One token of one picture."""
        token, batch = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
        column = tl.arange(0, BLOCK)
        inside = column < WIDTH
        begin = hidden + batch * batch_stride + token * token_stride
        x = tl.load(begin + column, mask=inside, other=0.0).to(tl.float32)
        by = tl.load(scale + batch * scale_stride + column, mask=inside, other=0.0).to(tl.float32)
        to = tl.load(shift + batch * shift_stride + column, mask=inside, other=0.0).to(tl.float32)
        apart = tl.where(inside, x - tl.sum(x, axis=0) / WIDTH, 0.0)
        r = tl.rsqrt(tl.sum(apart * apart, axis=0) / WIDTH + eps)
        made = apart * r * (1.0 + by) + to
        row = batch * tl.num_programs(0) + token
        target = row * WIDTH + column
        if KEEP:
            tl.store(values + target, made.to(values.dtype.element_ty), mask=inside)
        if ROUND:
            of_row = _scale_of(tl.abs(made))
            tl.store(rounded + target, (made * (1.0 / of_row)).to(tl.float8e4nv), mask=inside)
            tl.store(scales + row, of_row)

    @triton.jit(do_not_specialize=_OPEN)  # type: ignore[untyped-decorator]
    def _add_product(  # type: ignore[no-untyped-def]  # noqa: ANN202
        out, low, other, rows, columns, out_stride, low_stride, column_stride, rank_stride,  # noqa: ANN001
        RANKS: tl.constexpr, RANKS_BLOCK: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    ):  # fmt: skip
        """One tile: read, added to, written."""
        across = tl.cdiv(columns, COLUMNS)
        row = tl.program_id(0) // across * ROWS + tl.arange(0, ROWS)
        column = tl.program_id(0) % across * COLUMNS + tl.arange(0, COLUMNS)
        target = out + row.to(tl.int64)[:, None] * out_stride + column[None, :]
        inside = (row < rows)[:, None] & (column < columns)[None, :]
        before = tl.load(target, mask=inside, other=0.0)
        made = tl.zeros([ROWS, COLUMNS], tl.float32)
        for first in tl.static_range(0, RANKS, RANKS_BLOCK):
            rank = first + tl.arange(0, RANKS_BLOCK)
            one = tl.load(
                low + row[:, None] * low_stride + rank[None, :],
                mask=(row < rows)[:, None] & (rank < RANKS)[None, :], other=0.0,
            )  # fmt: skip
            two = tl.load(
                other + column[None, :] * column_stride + rank[:, None] * rank_stride,
                mask=(column < columns)[None, :] & (rank < RANKS)[:, None], other=0.0,
            )  # fmt: skip
            made = tl.dot(one, two, made)
        tl.store(target, (before.to(tl.float32) + made).to(out.dtype.element_ty), mask=inside)

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

    @triton.jit(do_not_specialize=_OPEN)  # type: ignore[untyped-decorator]
    def _rotate(  # type: ignore[no-untyped-def]  # noqa: ANN202
        projected, query, key, value, query_weight, key_weight, cos, sin,  # noqa: ANN001
        batch_stride, row_stride, first, all_tokens, eps,  # noqa: ANN001
        HEADS: tl.constexpr, WIDTH: tl.constexpr, HEADS_BLOCK: tl.constexpr, WIDTH_BLOCK: tl.constexpr,
        PARTS: tl.constexpr,
    ):  # fmt: skip
        """Query, key or value of one token of one picture, some heads."""
        token, batch = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
        part, group = tl.program_id(2) % PARTS, tl.program_id(2) // PARTS
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

    @triton.jit(do_not_specialize=_OPEN)  # type: ignore[untyped-decorator]
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
    long = right_width > 0 and (keep or left_width == 0)
    piece = min(_LONG_PIECE if long else _PIECE, triton.next_power_of_2(max(left_width, right_width)))
    inputs = [some if each is None else _in_rows(each) for each in (left, given, hidden)]
    with torch.cuda.device_of(some):  # type: ignore[no-untyped-call]
        _round_rows[(rows,)](
            *inputs, values, rounded, scales, *(each.stride(0) for each in inputs),
            left_width, right_width, piece, given is not None, keep, num_warps=_warps(piece),
        )  # fmt: skip
    return values, rounded, scales


def norm_rows(
    hidden: Tensor, shift: Tensor, scale: Tensor, eps: float, keep: bool, rounding: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """See `engine.flux_ops.normed_rows`."""
    hidden, shift, scale = (_in_rows(each) for each in (hidden, shift, scale))
    batch, tokens, width = hidden.shape
    values = hidden.new_empty(hidden.shape if keep else (0,))
    rows = batch * tokens if rounding else 0
    rounded = hidden.new_empty(rows, width, dtype=FLOAT8)
    scales = hidden.new_empty(rows, 1, dtype=torch.float32)
    block = triton.next_power_of_2(width)
    with torch.cuda.device_of(hidden):  # type: ignore[no-untyped-call]
        _norm_rows[(tokens, batch)](
            hidden, shift, scale, values, rounded, scales, hidden.stride(0), hidden.stride(1),
            shift.stride(0), scale.stride(0), eps, width, block, keep, rounding, num_warps=4 if keep else 2,
        )  # fmt: skip
    return values, rounded, scales


def add_product(out: Tensor, low: Tensor, other: Tensor) -> Tensor:
    """See `engine.flux_ops.add_product`."""
    low, rows, columns, ranks = _in_rows(low), *out.shape, low.shape[1]
    tiles = -(-rows // _TILE[0]) * -(-columns // _TILE[1])
    with torch.cuda.device_of(out):  # type: ignore[no-untyped-call]
        _add_product[(tiles,)](
            out, low, other, rows, columns, out.stride(0), low.stride(0), other.stride(0), other.stride(1),
            ranks, min(_RANKS, max(16, triton.next_power_of_2(ranks))), *_TILE, num_warps=4, num_stages=1,
        )  # fmt: skip
    return out


def rotate(
    projected: Sequence[Tensor], weights: Sequence[Tensor], cos: Tensor, sin: Tensor, heads: int, eps: float,
    copying: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """See `engine.flux_ops.rotated`."""
    projected = [_in_rows(each) for each in projected]
    batch, tokens = len(projected[0]), sum(each.shape[1] for each in projected)
    width, first = projected[0].shape[2] // heads // 3, 0
    query, key = (projected[0].new_empty(batch, tokens, heads, width) for _ in range(2))
    value, parts = query.new_empty(query.shape if copying else (0,)), 3 if copying else 2
    for place, each in enumerate(projected):
        with torch.cuda.device_of(each):  # type: ignore[no-untyped-call]
            _rotate[(each.shape[1], batch, parts * -(-heads // _HEADS))](
                each, query, key, value, weights[2 * place], weights[2 * place + 1], cos, sin,
                each.stride(0), each.stride(1), first, tokens, eps, heads, width,
                _HEADS, triton.next_power_of_2(width), parts, num_warps=_WARPS,
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


def _warps(numbers: int) -> int:
    return max(1, min(32, numbers // (_NUMBERS_A_THREAD * _THREADS_A_WARP)))


def _in_rows(tensor: Tensor) -> Tensor:
    """With neighbours beside one another: some of torch's attention kernels give gradients that have not."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()
