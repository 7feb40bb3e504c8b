"""Merging in one pass on a GPU: serving = pristine + up @ down, summed in float32, rounded once: to bfloat16,
or to float8 with a scale for each row, as `engine.quantisation.quantised` does it.

`torch.addmm` with another output first copies the pristine weight there, and is launched for each matrix.
Here a weight is read once and written once, and all matrices of one shape go in one launch: the kernel finds
them in a table of addresses. For float8 a weight is read twice, since the whole row must be known for its
scale. No sum is shared between threads: what is merged is the same bits each time.

The kernels are Triton's, which comes with torch's CUDA builds alone: this module is for where there is a GPU.
"""

import logging
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from engine.float8 import computes
from engine.quantisation import FLOAT8, LARGEST, LEAST_SCALE

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

log = logging.getLogger(__name__)

# A tile of the weight, and its warps: 59 registers a thread on Hopper, so that four tiles are under way on
# each multiprocessor.
TILE_ROWS, TILE_COLUMNS, WARPS = 64, 128, 8
# The least width of a product on tensor cores, up to what a tile's shared memory is meant for.
RANKS = (16, 32, 64, 128)
# For float8, by rank: rows, columns, warps, and how far its loop reads `down` ahead. The fastest of eleven on
# an H100 with all of FLUX.1-dev's weights: 16.5 ms at rank 16, 18.5 at 32, 22.3 at 128; the slowest 22 to 36.
FLOAT8_TILES = {16: (32, 128, 4, 3), 32: (32, 128, 4, 3), 64: (64, 64, 4, 3), 128: (64, 64, 4, 3)}
# Of both sides of a weight, as FLUX's are. On an H100 the kernel was wrong for some others.
MULTIPLE = 16
# Below Ampere (8, 0) there are no products in bfloat16.
CAPABILITY = (8, 0)
_VECTOR_BYTES = 16

if triton is not None:
    # Without types: its compiler takes them for what the kernel computes with.
    @triton.jit  # type: ignore[untyped-decorator]
    def _sum(  # type: ignore[no-untyped-def]  # noqa: ANN202
        pristine, ups, down, row, column, rows, columns,  # noqa: ANN001
        RANK: tl.constexpr,
    ):  # fmt: skip
        """A tile of pristine + up @ down in float32, zero outside. row: (tile's rows, 1), in 64 bits: a
        weight may have more than 2**31 numbers. column: (1, tile's columns). ups: (tile's rows, RANK)."""
        along = tl.arange(0, RANK).to(tl.int64)[:, None]
        inside = (row < rows) & (column < columns)
        before = tl.load(pristine + row * columns + column, mask=inside, other=0.0)
        downs = tl.load(down + along * columns + column, mask=column < columns, other=0.0)
        # Triton makes one product of it, which adds to what was before.
        return before.to(tl.float32) + tl.dot(ups, downs)

    @triton.jit  # type: ignore[untyped-decorator]
    def _merge(  # type: ignore[no-untyped-def]  # noqa: ANN202
        fixed, moving, rows, columns,  # noqa: ANN001
        ROWS: tl.constexpr, COLUMNS: tl.constexpr, RANK: tl.constexpr,
    ):  # fmt: skip
        """One tile of one matrix. fixed, moving: (matrices, 2) addresses as int64, of the pristine and the
        serving weight (rows, columns), and of up (rows, RANK) and down (RANK, columns); all contiguous."""
        tile, matrix = tl.program_id(0), tl.program_id(1)
        pristine = tl.load(fixed + 2 * matrix).to(tl.pointer_type(tl.bfloat16))
        serving = tl.load(fixed + 2 * matrix + 1).to(tl.pointer_type(tl.bfloat16))
        up = tl.load(moving + 2 * matrix).to(tl.pointer_type(tl.bfloat16))
        down = tl.load(moving + 2 * matrix + 1).to(tl.pointer_type(tl.bfloat16))
        # The compiler cannot see it in a table, and would read number by number.
        pristine, serving = tl.multiple_of(pristine, 16), tl.multiple_of(serving, 16)
        up, down = tl.multiple_of(up, 16), tl.multiple_of(down, 16)
        tiles_across = tl.cdiv(columns, COLUMNS)
        row = (tile // tiles_across * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
        column = (tile % tiles_across * COLUMNS + tl.arange(0, COLUMNS))[None, :]
        ups = tl.load(up + row * RANK + tl.arange(0, RANK)[None, :], mask=row < rows, other=0.0)
        after = _sum(pristine, ups, down, row, column, rows, columns, RANK)
        inside = (row < rows) & (column < columns)
        tl.store(serving + row * columns + column, after.to(tl.bfloat16), mask=inside)

    @triton.jit  # type: ignore[untyped-decorator]
    def _merge_float8(  # type: ignore[no-untyped-def]  # noqa: ANN202
        fixed, moving, rows, columns,  # noqa: ANN001
        ROWS: tl.constexpr, COLUMNS: tl.constexpr, RANK: tl.constexpr,
        LARGEST: tl.constexpr, LEAST_SCALE: tl.constexpr,
    ):  # fmt: skip
        """Some whole rows of one matrix. fixed: (matrices, 3) addresses, of the pristine weight, the serving
        weight in float8 and its float32 scale (rows, 1). moving: as above."""
        matrix = tl.program_id(1)
        pristine = tl.load(fixed + 3 * matrix).to(tl.pointer_type(tl.bfloat16))
        serving = tl.load(fixed + 3 * matrix + 1).to(tl.pointer_type(tl.float8e4nv))
        scales = tl.load(fixed + 3 * matrix + 2).to(tl.pointer_type(tl.float32))
        up = tl.load(moving + 2 * matrix).to(tl.pointer_type(tl.bfloat16))
        down = tl.load(moving + 2 * matrix + 1).to(tl.pointer_type(tl.bfloat16))
        pristine, serving = tl.multiple_of(pristine, 16), tl.multiple_of(serving, 16)
        up, down = tl.multiple_of(up, 16), tl.multiple_of(down, 16)
        row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
        ups = tl.load(up + row * RANK + tl.arange(0, RANK)[None, :], mask=row < rows, other=0.0)
        steps = tl.cdiv(columns, COLUMNS)
        # Of each number of a tile on its own: its threads tell each other once, at the end.
        sizes = tl.zeros((ROWS, COLUMNS), tl.float32)
        for step in range(steps):
            column = (step * COLUMNS + tl.arange(0, COLUMNS))[None, :]
            sizes = tl.maximum(sizes, tl.abs(_sum(pristine, ups, down, row, column, rows, columns, RANK)))
        scale = tl.maximum(tl.max(sizes, axis=1, keep_dims=True) / LARGEST, LEAST_SCALE)
        tl.store(scales + row, scale, mask=row < rows)
        for step in range(steps):
            # Backwards: what was read last is most likely still in the cache.
            column = ((steps - 1 - step) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
            after = _sum(pristine, ups, down, row, column, rows, columns, RANK)
            values = tl.clamp(after / scale, -LARGEST, LARGEST, tl.PropagateNan.ALL).to(tl.float8e4nv)
            inside = (row < rows) & (column < columns)
            tl.store(serving + row * columns + column, values, mask=inside)


class Matrix(NamedTuple):
    """What is merged: a pristine weight (rows, columns) in bfloat16, and where the sum goes. The serving rows
    are as many in bfloat16, or in float8 with a float32 scale (rows, 1)."""

    pristine: Tensor
    serving: Tensor
    scale: Tensor | None = None


class _Alike(NamedTuple):
    """Matrices of one shape and type, which go in one launch; their addresses, as the kernel takes them."""

    rows: int
    columns: int
    float8: bool
    fixed: Tensor


class Merger:
    """Matrices at fixed addresses, merged anew with one adapter after another."""

    def __init__(self, matrices: Sequence[Matrix]) -> None:
        """matrices: as `fits` says, all on one device. They must stay where they are while this lives."""
        self._matrices = matrices  # so that nobody else is given their memory
        self._device = matrices[0].pristine.device
        kinds = [(len(each.pristine), each.pristine.shape[1], each.scale is not None) for each in matrices]
        self._order = sorted(range(len(matrices)), key=kinds.__getitem__)
        self._launches = [
            _Alike(*kind, self._table([matrices[index] for index in members]))
            for kind, members in groupby(self._order, kinds.__getitem__)
        ]

    @staticmethod
    def takes(rank: int) -> bool:
        """Whether an adapter of that rank can be merged."""
        return rank in RANKS

    @torch.no_grad()
    def merge(self, halves: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Write all serving rows: up (rows, rank) and down (rank, columns) for each, in the order of the
        matrices, of one rank, contiguous, aligned, in bfloat16. Raises ValueError for others, before it
        writes."""
        ordered, rank = [halves[index] for index in self._order], len(halves[0][1])
        self._check(ordered, rank)
        moving = self._table(ordered)
        first = 0
        for each in self._launches:
            with torch.cuda.device_of(moving):  # type: ignore[no-untyped-call]
                (_launch_float8 if each.float8 else _launch)(each, moving[first:], rank)
            first += len(each.fixed)

    def _check(self, ordered: Sequence[tuple[Tensor, Tensor]], rank: int) -> None:
        """Of what is not this shape, the kernel would read others' memory."""
        halves = iter(ordered)
        for rows, columns, _, fixed in self._launches:
            up_shape, down_shape = (rows, rank), (rank, columns)
            for _ in range(len(fixed)):
                up, down = next(halves)
                if not (up.shape == up_shape and down.shape == down_shape and self._reads(up, down)):
                    raise ValueError(f"{up.shape} @ {down.shape} for a weight of {rows} x {columns}")
        if not self.takes(rank):
            raise ValueError(f"rank {rank} is none of {RANKS}")

    def _reads(self, *tensors: Tensor) -> bool:
        return all(
            each.dtype == torch.bfloat16
            and each.device == self._device
            and each.is_contiguous()
            and is_aligned(each)
            for each in tensors
        )

    def _table(self, lines: Sequence[tuple[Tensor | None, ...]]) -> Tensor:
        """Their addresses on the device."""
        addresses = [[each.data_ptr() for each in line if each is not None] for line in lines]
        return torch.tensor(addresses, dtype=torch.int64).to(self._device)


def _launch(alike: _Alike, moving: Tensor, rank: int) -> None:
    tiles = -(-alike.rows // TILE_ROWS) * -(-alike.columns // TILE_COLUMNS)
    _merge[(tiles, len(alike.fixed))](
        alike.fixed, moving, alike.rows, alike.columns,
        TILE_ROWS, TILE_COLUMNS, rank, num_warps=WARPS,
    )  # fmt: skip


def _launch_float8(alike: _Alike, moving: Tensor, rank: int) -> None:
    rows, columns, warps, stages = FLOAT8_TILES[rank]
    _merge_float8[(-(-alike.rows // rows), len(alike.fixed))](
        alike.fixed, moving, alike.rows, alike.columns,
        rows, columns, rank, LARGEST, LEAST_SCALE, num_warps=warps, num_stages=stages,
    )  # fmt: skip


def fits(matrix: Matrix) -> bool:
    """Whether it may be given to a `Merger`."""
    pristine, serving, scale = matrix
    types = (torch.bfloat16, torch.bfloat16 if scale is None else FLOAT8)
    return all(
        each.dtype == dtype
        and each.is_contiguous()
        and each.shape == pristine.shape
        and each.numel() > 0
        and not any(side % MULTIPLE for side in each.shape)
        and is_aligned(each)
        for each, dtype in zip((pristine, serving), types, strict=True)
    ) and (scale is None or _is_scale(scale, len(pristine)))


def _is_scale(scale: Tensor, rows: int) -> bool:
    return scale.dtype == torch.float32 and scale.shape == (rows, 1) and scale.is_contiguous()


def is_aligned(tensor: Tensor) -> bool:
    """To what the kernel reads at once."""
    return tensor.data_ptr() % _VECTOR_BYTES == 0


def usable(device: torch.device, float8: bool = False) -> bool:
    """Whether the kernel, or the one for float8, runs on that GPU, and is right: tried on two small matrices.
    Where it was not compiled before it takes a second, and a C compiler, which not every machine has."""
    if triton is None or torch.cuda.get_device_capability(device) < CAPABILITY:
        return False
    if float8 and not computes(device):
        return False
    try:
        largest = _error(device, float8)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a compiler may lack, there is another way
        problem = f"{type(error).__name__}: {str(error)[:200]}"
        log.warning("no_merge_kernel", extra={"float8": float8, "problem": problem})
        return False
    if not largest <= 1:
        log.warning("merge_kernel_is_wrong", extra={"float8": float8, "error": largest})
        return False
    return True


def _error(device: torch.device, float8: bool) -> float:
    """The largest, in units of what rounding once may do to a number."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(2, *shape, generator=generator).to(device, torch.bfloat16)

    rows, columns, rank = TILE_ROWS + MULTIPLE, TILE_COLUMNS + MULTIPLE, RANKS[0]
    halves = list(zip(drawn(rows, rank), drawn(rank, columns), strict=True))
    matrices = [unwritten(each, float8) for each in drawn(rows, columns)]
    Merger(matrices).merge(halves)
    pairs = zip(matrices, halves, strict=True)
    return float(torch.tensor([rounding_error(matrix, *half) for matrix, half in pairs]).max())


def unwritten(pristine: Tensor, float8: bool) -> Matrix:
    """With serving rows that are NaN until something is merged."""
    serving = torch.full_like(pristine, float("nan"))
    if not float8:
        return Matrix(pristine, serving)
    return Matrix(pristine, serving.to(FLOAT8), serving[:, :1].float())


def rounding_error(matrix: Matrix, up: Tensor, down: Tensor) -> float:
    """How far the farthest of a merge's numbers is from the exact one, as a share of what it may be: half a
    unit in the last place of what it is rounded to, and float32's errors before. NaN where there is any."""
    pristine, serving, scale = matrix
    exact = pristine.double() + up.double() @ down.double()
    size = pristine.double().abs() + up.double().abs() @ down.double().abs()
    if scale is None:
        allowed = exact.abs() * 2**-8 + size * 2**-16 + 1e-30
        return float(((serving.double() - exact).abs() / allowed).max())
    wanted = (exact.abs().amax(dim=1, keepdim=True) / LARGEST).clamp(min=LEAST_SCALE)
    # 3 bits of mantissa, and numbers below the normal ones: those are 2**-9 apart.
    allowed = (exact.abs() * 2**-4).maximum(scale * 2**-10) + size * 2**-16
    off = (serving.double() * scale - exact).abs() / allowed
    return float(torch.stack([off.max(), ((scale - wanted).abs() / (wanted * 1e-5)).max()]).max())
