"""What the merge kernels do, on a CPU and without Triton: from the same tables of addresses."""

import ctypes
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from engine import merge_kernel
from engine.quantisation import FLOAT8, quantised


class Launches:
    """In the kernels' place. Counts their launches."""

    def __init__(self) -> None:
        self.grids: list[tuple[int, int]] = []
        self.float8_grids: list[tuple[int, int]] = []
        self.broken = False  # then one number is wrong
        self.idle = False  # then adapters are left out

    def replace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(merge_kernel, "_merge", _Kernel(self.launch), raising=False)
        monkeypatch.setattr(merge_kernel, "_merge_float8", _Kernel(self.launch_float8), raising=False)

    def launch(
        self, grid: tuple[int, int], fixed: Tensor, moving: Tensor, rows: int, columns: int,
        tile_rows: int, tile_columns: int, rank: int, *, num_warps: int,
    ) -> None:  # fmt: skip
        tiles, count = grid
        assert tiles == -(-rows // tile_rows) * -(-columns // tile_columns)
        self.grids.append(grid)
        for (pristine, serving), halves in zip(fixed.tolist(), moving[:count].tolist(), strict=True):
            after = _at(serving, torch.bfloat16, rows, columns)
            after.copy_(self._sum(pristine, *halves, rows, columns, rank))
            if self.broken:
                after[-1, -1] += 1

    def launch_float8(
        self, grid: tuple[int, int], fixed: Tensor, moving: Tensor, rows: int, columns: int,
        tile_rows: int, tile_columns: int, rank: int, largest: float, least_scale: float,
        *, num_warps: int, num_stages: int,
    ) -> None:  # fmt: skip
        tiles, count = grid
        assert tiles == -(-rows // tile_rows)
        self.float8_grids.append(grid)
        for (pristine, serving, scale), halves in zip(fixed.tolist(), moving[:count].tolist(), strict=True):
            after = quantised(self._sum(pristine, *halves, rows, columns, rank))
            for address, each in zip((serving, scale), after, strict=True):
                _at(address, each.dtype, *each.shape).copy_(each)
            if self.broken:
                _at(serving, torch.uint8, rows, columns)[-1, -1] ^= 0x80  # its sign

    def _sum(self, pristine: int, up: int, down: int, rows: int, columns: int, rank: int) -> Tensor:
        before = _at(pristine, torch.bfloat16, rows, columns).float()
        if self.idle:
            return before
        ups, downs = _at(up, torch.bfloat16, rows, rank), _at(down, torch.bfloat16, rank, columns)
        return torch.addmm(before, ups.float(), downs.float())


class _Kernel:
    def __init__(self, launch: Callable[..., None]) -> None:
        self._launch = launch

    def __getitem__(self, grid: tuple[int, int]) -> Callable[..., None]:
        return partial(self._launch, grid)


def _at(address: int, dtype: torch.dtype, rows: int, columns: int) -> Tensor:
    memory = (ctypes.c_char * (rows * columns * dtype.itemsize)).from_address(address)
    return torch.frombuffer(memory, dtype=dtype).view(rows, columns)


def bits(tensor: Tensor) -> Tensor:
    """To be compared: numbers in float8 cannot be."""
    return tensor.view(torch.uint8) if tensor.dtype == FLOAT8 else tensor
