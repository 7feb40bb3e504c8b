"""The merge kernels: what they are given, and where Triton is installed what they compute.
On a GPU: tests/gpu."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine import merge_kernel
from engine.merge_kernel import (
    FLOAT8_TILES,
    RANKS,
    Matrix,
    Merger,
    fits,
    rounding_error,
    unwritten,
    usable,
)
from engine.quantisation import FLOAT8, quantised
from tests.engine.merging_on_cpu import Launches, bits

SHAPES = [(80, 16), (16, 48), (80, 16), (16, 16), (16, 48), (80, 16)]
Halves = list[tuple[Tensor, Tensor]]


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    kernel = Launches()
    kernel.replace(monkeypatch)
    return kernel


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def matrices(float8: bool = False) -> list[Matrix]:
    return [unwritten(drawn(*shape, seed=seed), float8) for seed, shape in enumerate(SHAPES)]


def halves(rank: int) -> Halves:
    return [
        (drawn(rows, rank, seed=100 + seed), drawn(rank, columns, seed=200 + seed))
        for seed, (rows, columns) in enumerate(SHAPES)
    ]


@pytest.mark.parametrize("rank", [16, 32, 128])
def test_each_matrix_gets_its_own_halves_and_a_shape_one_launch(launches: Launches, rank: int) -> None:
    there, given = matrices(), halves(rank)
    Merger(there).merge(given)
    for (pristine, serving, _), (up, down) in zip(there, given, strict=True):
        assert torch.equal(serving, torch.addmm(pristine, up, down))
    assert sorted(count for _, count in launches.grids) == [1, 2, 3]
    assert not launches.float8_grids


@pytest.mark.parametrize("rank", [16, 128])
def test_some_may_be_float8_and_some_not(launches: Launches, rank: int) -> None:
    kinds, given = [matrices(), matrices(float8=True)], halves(rank)
    mixed = [kinds[index % 2][index] for index in range(len(SHAPES))]
    Merger(mixed).merge(given)
    for (pristine, serving, scale), (up, down) in zip(mixed, given, strict=True):
        exact = torch.addmm(pristine.float(), up.float(), down.float())
        if scale is None:
            assert torch.equal(serving, exact.bfloat16())
        else:
            values, wanted = quantised(exact)
            assert torch.equal(bits(serving), bits(values))
            assert torch.equal(scale, wanted)
    # Of (80, 16), (16, 48), (80, 16), (16, 16), (16, 48), (80, 16) each second is float8.
    assert sorted(count for _, count in launches.grids) == [1, 2]
    assert sorted(count for _, count in launches.float8_grids) == [1, 1, 1]


@pytest.mark.parametrize("float8", [False, True])
def test_what_does_not_fit_is_refused_before_anything_is_written(launches: Launches, float8: bool) -> None:
    there, right = matrices(float8), halves(16)
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
    assert not launches.grids + launches.float8_grids
    assert all(each.serving.float().isnan().all() for each in there)


def test_only_what_the_kernel_reads_fits() -> None:
    one = drawn(16, 48)
    assert fits(Matrix(one, one))
    assert not fits(Matrix(one, drawn(16, 48).float()))
    assert not fits(Matrix(drawn(48, 16).t(), one))
    assert not fits(Matrix(one, one[:0]))
    assert not fits(Matrix(one, drawn(32, 48)))
    assert not fits(Matrix(drawn(16, 40), drawn(16, 40)))
    assert not fits(Matrix(drawn(24, 48), drawn(24, 48)))
    assert not fits(Matrix(one, drawn(1 + 16 * 48)[1:].view(16, 48)))


def test_only_what_the_kernel_for_float8_reads_fits() -> None:
    one, scale = drawn(16, 48), torch.ones(16, 1)
    eight = one.to(FLOAT8)
    assert fits(Matrix(one, eight, scale))
    assert not fits(Matrix(one, eight)), "where would its scale go?"
    assert not fits(Matrix(one, one, scale))
    assert not fits(Matrix(one, eight, scale.double()))
    assert not fits(Matrix(one, eight, scale[:-1]))
    assert not fits(Matrix(one, eight, torch.ones(16, 2)[:, :1]))
    assert not fits(Matrix(one.float(), eight, scale))
    assert not fits(Matrix(one, drawn(8 + 16 * 48).to(FLOAT8)[8:].view(16, 48), scale))


def test_each_rank_has_a_kernel_of_either_kind() -> None:
    assert FLOAT8_TILES.keys() == set(RANKS)


def test_a_second_rounding_is_an_error() -> None:
    pristine, up, down = drawn(64, 64), drawn(64, 16, seed=1), drawn(16, 64, seed=2)
    once = (pristine.double() + up.double() @ down.double()).bfloat16()
    assert rounding_error(Matrix(pristine, once), up, down) <= 1
    assert rounding_error(Matrix(pristine, pristine + up @ down), up, down) > 1
    once[3, 4] = float("nan")
    assert not rounding_error(Matrix(pristine, once), up, down) <= 1


def test_in_float8_a_step_too_far_and_another_scale_are_errors() -> None:
    pristine, up, down = drawn(64, 64), drawn(64, 16, seed=1), drawn(16, 64, seed=2)
    pristine[5], up[5] = 0, 0
    pristine[6, ::2], up[6] = 2**-12, 0  # the scale makes it less than float8's normal numbers
    values, scale = quantised(torch.addmm(pristine.float(), up.float(), down.float()))

    def error(values: Tensor, scale: Tensor) -> float:
        return rounding_error(Matrix(pristine, values, scale), up, down)

    assert 0.9 < error(values, scale) <= 1
    for row, column in ((3, 4), (5, 6), (6, 0)):
        steps = values.view(torch.uint8).clone()
        steps[row, column] ^= 1 if row != 5 else 0x30
        assert error(steps.view(FLOAT8), scale) > 1, (row, column)
    assert error(values, scale * (1 + 1e-4)) > 1
    unwritten_values = values.clone()
    unwritten_values[3, 4] = float("nan")
    assert not error(unwritten_values, scale) <= 1
    scale[7] = float("nan")
    assert not error(values, scale) <= 1


def test_a_card_without_float8_keeps_the_other_kernel(
    launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = torch.device("cpu")
    monkeypatch.setattr(merge_kernel, "triton", object())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 6))
    monkeypatch.setattr(merge_kernel, "computes", lambda _: False)
    assert usable(here)
    assert not usable(here, float8=True)
    assert not launches.float8_grids
    monkeypatch.setattr(merge_kernel, "computes", lambda _: True)
    assert usable(here, float8=True)
    assert launches.float8_grids
    launches.broken = True
    assert not usable(here, float8=True)
    assert not usable(here)


INTERPRETED = """
import torch
import tests.engine.triton_interpreter
from engine.merge_kernel import Matrix, Merger, rounding_error, unwritten

generator = torch.Generator().manual_seed(1)
def drawn(*shape):
    return torch.randn(*shape, generator=generator).bfloat16()

shapes = [(64, 128), (80, 144), (16, 16), (112, 272), (80, 144), (16, 16)]
for rank in (16, 32, 128):
    pristine = [drawn(*shape) for shape in shapes]
    pristine[3][7] = 0
    halves = [(drawn(rows, rank), drawn(rank, columns)) for rows, columns in shapes]
    halves[3][0][7] = 0
    matrices = [unwritten(each, float8) for float8 in (False, True) for each in pristine]
    around = [unwritten(drawn(200, 144), float8) for float8 in (False, True)]
    matrices[1] = Matrix(pristine[1], around[0].serving[100:180])
    matrices[7] = Matrix(pristine[1], around[1].serving[100:180], around[1].scale[100:180])
    Merger(matrices).merge(halves * 2)
    errors = [rounding_error(matrix, *half) for matrix, half in zip(matrices, halves * 2)]
    assert all(error <= 1 for error in errors), (rank, errors)
    for _, serving, scale in around:
        for each in (serving, serving if scale is None else scale):
            beside = torch.cat([each[:100].float(), each[180:].float()])
            assert beside.isnan().all(), "wrote beside its rows"
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
