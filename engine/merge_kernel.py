"""Merging in one pass on a GPU: serving = pristine + up @ down, summed in float32, rounded once to bfloat16.

`torch.addmm` with another output first copies the pristine weight there, and is launched for each matrix.
Here a weight is read once and written once, and all matrices of one shape go in one launch: the kernel finds
them in a table of addresses. No sum is shared between threads: what is merged is the same bits each time.

The kernel is Triton's, which comes with torch's CUDA builds alone: this module is for where there is a GPU.
"""

import logging
from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

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
# Of both sides of a weight, as FLUX's are. On an H100 the kernel was wrong for some others.
MULTIPLE = 16
# Below Ampere (8, 0) there are no products in bfloat16.
CAPABILITY = (8, 0)
_VECTOR_BYTES = 16

if triton is not None:
    # Without types: its compiler takes them for what the kernel computes with.
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
        # In 64 bits before they are multiplied: a weight may have more than 2**31 numbers.
        row = (tile // tiles_across * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
        column = (tile % tiles_across * COLUMNS + tl.arange(0, COLUMNS))[None, :]
        across, along = tl.arange(0, RANK)[None, :], tl.arange(0, RANK).to(tl.int64)[:, None]
        place, inside = row * columns + column, (row < rows) & (column < columns)
        before = tl.load(pristine + place, mask=inside, other=0.0)
        ups = tl.load(up + row * RANK + across, mask=row < rows, other=0.0)
        downs = tl.load(down + along * columns + column, mask=column < columns, other=0.0)
        # Triton makes one product of it, which adds to what was before.
        after = before.to(tl.float32) + tl.dot(ups, downs)
        tl.store(serving + place, after.to(tl.bfloat16), mask=inside)


class Merger:
    """Matrices at fixed addresses, merged anew with one adapter after another."""

    def __init__(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
        """pairs: pristine weight and serving rows of one shape, as `fits` says, all on one device. They must
        stay where they are while this lives."""
        self._pairs = pairs  # so that nobody else is given their memory
        self._order = sorted(range(len(pairs)), key=lambda index: pairs[index][0].shape)
        shapes = [tuple(pairs[index][0].shape) for index in self._order]
        self._shapes = [(shape, len(list(members))) for shape, members in groupby(shapes)]
        self._device = pairs[0][0].device
        self._fixed = self._table([pairs[index] for index in self._order])

    @staticmethod
    def takes(rank: int) -> bool:
        """Whether an adapter of that rank can be merged."""
        return rank in RANKS

    @torch.no_grad()
    def merge(self, halves: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Write all serving rows: up (rows, rank) and down (rank, columns) for each, in the order of the
        pairs, of one rank, contiguous, aligned, in bfloat16. Raises ValueError for others, before it
        writes."""
        ordered, rank = [halves[index] for index in self._order], len(halves[0][1])
        self._check(ordered, rank)
        moving = self._table(ordered)
        first = 0
        for (rows, columns), count in self._shapes:
            tiles = -(-rows // TILE_ROWS) * -(-columns // TILE_COLUMNS)
            with torch.cuda.device_of(moving):  # type: ignore[no-untyped-call]
                _merge[(tiles, count)](
                    self._fixed[first:], moving[first:], rows, columns,
                    TILE_ROWS, TILE_COLUMNS, rank, num_warps=WARPS,
                )  # fmt: skip
            first += count

    def _check(self, ordered: Sequence[tuple[Tensor, Tensor]], rank: int) -> None:
        """Of what is not this shape, the kernel would read others' memory."""
        halves = iter(ordered)
        for (rows, columns), count in self._shapes:
            up_shape, down_shape = (rows, rank), (rank, columns)
            for _ in range(count):
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

    def _table(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Their addresses on the device."""
        addresses = [(one.data_ptr(), two.data_ptr()) for one, two in pairs]
        return torch.tensor(addresses, dtype=torch.int64).to(self._device)


def fits(pristine: Tensor, serving: Tensor) -> bool:
    """Whether a pair may be given to a `Merger`."""
    return all(
        each.dtype == torch.bfloat16
        and each.is_contiguous()
        and each.numel() > 0
        and not any(side % MULTIPLE for side in each.shape)
        and is_aligned(each)
        for each in (pristine, serving)
    )


def is_aligned(tensor: Tensor) -> bool:
    """To what the kernel reads at once."""
    return tensor.data_ptr() % _VECTOR_BYTES == 0


def usable(device: torch.device) -> bool:
    """Whether the kernel runs on that GPU, and is right: tried on two small matrices. Where it was not
    compiled before it takes a second, and a C compiler, which not every machine has."""
    if triton is None or torch.cuda.get_device_capability(device) < CAPABILITY:
        return False
    try:
        largest = _error(device)
    except Exception as error:  # noqa: BLE001 - whatever a compiler may lack, there is another way
        log.warning("no_merge_kernel", extra={"problem": f"{type(error).__name__}: {str(error)[:200]}"})
        return False
    if not largest <= 1:
        log.warning("merge_kernel_is_wrong", extra={"error": largest})
        return False
    return True


def _error(device: torch.device) -> float:
    """The largest, in units of what rounding once may do to a number."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(2, *shape, generator=generator).to(device, torch.bfloat16)

    rows, columns, rank = TILE_ROWS + MULTIPLE, TILE_COLUMNS + MULTIPLE, RANKS[0]
    pristine, up, down = drawn(rows, columns), drawn(rows, rank), drawn(rank, columns)
    serving = torch.full_like(pristine, float("nan"))
    Merger(list(zip(pristine, serving, strict=True))).merge(list(zip(up, down, strict=True)))
    return rounding_error(serving, pristine, up, down)


def rounding_error(serving: Tensor, pristine: Tensor, up: Tensor, down: Tensor) -> float:
    """How far the farthest of a merge's numbers is from the exact one, as a share of what it may be: half a
    unit in the last place of bfloat16, and float32's errors before. NaN where there is any."""
    exact = pristine.double() + up.double() @ down.double()
    size = pristine.double().abs() + up.double().abs() @ down.double().abs()
    allowed = exact.abs() * 2**-8 + size * 2**-16 + 1e-30
    return float(((serving.double() - exact).abs() / allowed).max())
