"""The merge kernel: what it is given, and where Triton is installed what it computes. On a GPU: tests/gpu."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine import merge_kernel as module
from engine.merge_kernel import Merger, fits, rounding_error
from tests.engine.merging_on_cpu import Launches

SHAPES = [(80, 16), (16, 48), (80, 16), (16, 16), (16, 48), (80, 16)]
Halves = list[tuple[Tensor, Tensor]]


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    kernel = Launches()
    monkeypatch.setattr(module, "_merge", kernel, raising=False)
    return kernel


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def pairs() -> Halves:
    return [
        (drawn(*shape, seed=seed), torch.full(shape, float("nan"), dtype=torch.bfloat16))
        for seed, shape in enumerate(SHAPES)
    ]


def halves(rank: int) -> Halves:
    return [
        (drawn(rows, rank, seed=100 + seed), drawn(rank, columns, seed=200 + seed))
        for seed, (rows, columns) in enumerate(SHAPES)
    ]


@pytest.mark.parametrize("rank", [16, 32, 128])
def test_each_matrix_gets_its_own_halves_and_a_shape_one_launch(launches: Launches, rank: int) -> None:
    there, given = pairs(), halves(rank)
    Merger(there).merge(given)
    for (pristine, serving), (up, down) in zip(there, given, strict=True):
        assert torch.equal(serving, torch.addmm(pristine, up, down))
    assert sorted(count for _, count in launches.grids) == [1, 2, 3]


def test_what_does_not_fit_is_refused_before_anything_is_written(launches: Launches) -> None:
    there, right = pairs(), halves(16)
    up, down = right[-1]
    wrong = {
        "rows": (up[:-16], down),
        "columns": (up, down[:, :-16].contiguous()),
        "rank": (up[:, :-1].contiguous(), down[:-1]),
        "alignment": (torch.cat([up.flatten()[:1], up.flatten()])[1:].view(up.shape), down),
        "type": (up.float(), down.float()),
        "strides": (up.t().contiguous().t(), down),
        "device": (up.to("meta"), down.to("meta")),
    }
    for each in wrong.values():
        with pytest.raises(ValueError):
            Merger(there).merge([*right[:-1], each])
    for rank in (1, 4, 33, 129):
        assert not Merger.takes(rank)
        with pytest.raises(ValueError, match=f"rank {rank}"):
            Merger(there).merge(halves(rank))
    assert not launches.grids
    assert all(serving.isnan().all() for _, serving in there)


def test_only_what_the_kernel_reads_fits() -> None:
    one = drawn(16, 48)
    assert fits(one, one)
    assert not fits(one, drawn(16, 48).float())
    assert not fits(drawn(48, 16).t(), one)
    assert not fits(one, one[:0])
    assert not fits(drawn(16, 40), one)
    assert not fits(drawn(24, 48), one)
    assert not fits(one, drawn(1 + 16 * 48)[1:].view(16, 48))


def test_a_second_rounding_is_an_error() -> None:
    pristine, up, down = drawn(64, 64), drawn(64, 16, seed=1), drawn(16, 64, seed=2)
    once = (pristine.double() + up.double() @ down.double()).bfloat16()
    assert rounding_error(once, pristine, up, down) <= 1
    assert rounding_error(pristine + up @ down, pristine, up, down) > 1
    once[3, 4] = float("nan")
    assert not rounding_error(once, pristine, up, down) <= 1


# Triton's interpreter takes bfloat16 for whole numbers in products and does not round to it.
INTERPRETED = """
import numpy as np
import torch
import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

def wide(handle):
    known = handle.dtype.scalar == tl.bfloat16
    return (handle.data.astype(np.uint32) << 16).view(np.float32) if known else handle.data

def dot(self, one, two, before, *_):
    return TensorHandle(np.matmul(wide(one), wide(two)) + before.data, before.dtype.scalar)

def rounded(self, handle, kind):
    assert kind.scalar == tl.bfloat16
    halves = torch.from_numpy(handle.data).bfloat16().view(torch.int16).numpy()
    return TensorHandle(halves.view(np.uint16), kind.scalar)

InterpreterBuilder.create_dot, InterpreterBuilder.create_fp_trunc = dot, rounded
from engine.merge_kernel import Merger, rounding_error

generator = torch.Generator().manual_seed(1)
def drawn(*shape):
    return torch.randn(*shape, generator=generator).bfloat16()

shapes = [(64, 128), (80, 144), (16, 16), (112, 272), (80, 144), (16, 16)]
for rank in (16, 32, 128):
    pristine = [drawn(*shape) for shape in shapes]
    around = torch.full((200, 144), float("nan")).bfloat16()
    serving = [torch.full(shape, float("nan")).bfloat16() for shape in shapes]
    serving[1] = around[100:180]
    up, down = ([drawn(*shape) for shape in each] for each in (
        [(rows, rank) for rows, _ in shapes], [(rank, columns) for _, columns in shapes],
    ))
    Merger(list(zip(pristine, serving))).merge(list(zip(up, down)))
    errors = [rounding_error(*each) for each in zip(serving, pristine, up, down)]
    assert all(error <= 1 for error in errors), (rank, errors)
    assert around[:100].isnan().all() and around[180:].isnan().all(), "wrote beside its rows"
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton, which comes with torch's CUDA builds")
def test_it_computes_the_sum_rounded_once() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED], cwd=Path(__file__).parents[2], env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
