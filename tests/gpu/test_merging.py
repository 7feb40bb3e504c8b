"""Switching people on a GPU: the merge kernels against the exact sum, the plain way and themselves, and
adapters that come back from the host's memory."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from engine import merging
from engine.float8 import computes
from engine.lora import Adapter, AdapterInfo, AdapterSlot, save_adapter
from engine.merge_kernel import RANKS, Matrix, Merger, rounding_error, unwritten, usable
from engine.merging import Serving
from engine.models import Base
from engine.quantisation import FLOAT8, quantised
from engine.shelf import AdapterShelf, num_bytes
from engine.tiers import TIERS
from tests.engine.merging_on_cpu import bits
from tests.gpu.test_memory import GEOMETRY

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
SHAPES = [
    (3072, 3072),
    (80, 144),
    (12288, 3072),
    (3072, 15360),
    (3072, 3072),
    (16, 16),
    (80, 144),
    (1008, 1040),
]
Halves = list[tuple[Tensor, Tensor]]


def drawn(*shape: int, scale: float = 1.0) -> Tensor:
    return (torch.randn(*shape, device="cuda") * scale).bfloat16()


def halves(rank: int) -> Halves:
    return [(drawn(rows, rank, scale=0.3), drawn(rank, columns)) for rows, columns in SHAPES]


def has_float8() -> bool:
    return computes(torch.device("cuda", 0))


@pytest.fixture(params=[False, True], ids=["bfloat16", "float8"])
def float8(request: pytest.FixtureRequest) -> bool:
    if request.param and not has_float8():
        pytest.skip("needs a GPU with float8: Ada, Hopper or newer")
    return bool(request.param)


def test_it_is_used_here(float8: bool) -> None:
    assert usable(torch.device("cuda", 0), float8)


@pytest.mark.parametrize("rank", RANKS)
def test_each_number_is_the_exact_sum_rounded_once(rank: int) -> None:
    """Not a plain sum's bits: tensor cores add up in float32 in an order of their own, so that a sum that
    lies between two numbers of bfloat16 may go to the other one. It happens to few."""
    torch.manual_seed(rank)
    pristine, given = [drawn(*shape) for shape in SHAPES], halves(rank)
    around = [
        torch.full((rows + 64, columns), torch.nan, device="cuda").bfloat16() for rows, columns in SHAPES
    ]
    serving = [each[32:-32] for each in around]
    merger = Merger([Matrix(*each) for each in zip(pristine, serving, strict=True)])
    merger.merge(given)
    first, other, numbers = [each.clone() for each in serving], 0, 0
    for before, after, (up, down) in zip(pristine, serving, given, strict=True):
        assert rounding_error(Matrix(before, after), up, down) <= 1, tuple(before.shape)
        plain = torch.addmm(before.float(), up.float(), down.float()).bfloat16()
        other += int((after != plain).sum())
        numbers += after.numel()
    assert other < numbers * 0.03, f"{other} of {numbers} are others"
    assert all(each[:32].isnan().all() and each[-32:].isnan().all() for each in around), "wrote elsewhere"
    merger.merge(halves(32))
    merger.merge(given)
    assert all(torch.equal(each, before) for each, before in zip(serving, first, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available() or not has_float8(), reason="needs a GPU with float8")
@pytest.mark.parametrize("rank", RANKS)
def test_in_float8_each_number_is_the_exact_sum_rounded_once(rank: int) -> None:
    """A sum near the middle between two numbers may go to the other one than in a plain sum, and a row's
    scale may be another by a millionth."""
    torch.manual_seed(rank)
    around = [unwritten(drawn(rows + 64, columns), float8=True) for rows, columns in SHAPES]
    given = halves(rank)
    for (pristine, _, _), (up, _) in zip(around, given, strict=True):
        pristine[40], up[8] = 0, 0  # row 8 is one of zeros
    inner = [Matrix(*(each[32:-32] for each in matrix if each is not None)) for matrix in around]
    merger = Merger(inner)
    merger.merge(given)
    first, other, numbers = [written(each) for each in inner], 0, 0
    for matrix, (up, down) in zip(inner, given, strict=True):
        assert rounding_error(matrix, up, down) <= 1, tuple(matrix.pristine.shape)
        plain, scale = quantised(torch.addmm(matrix.pristine.float(), up.float(), down.float()))
        other += int((bits(matrix.serving) != bits(plain)).sum())
        numbers += plain.numel()
        assert torch.allclose(matrix.scale, scale, rtol=1e-5, atol=0)
        assert not matrix.serving[8].float().any()
    assert other < numbers * 0.01, f"{other} of {numbers} are others"
    for _, *beside in around:
        assert all(part.float().isnan().all() for each in beside for part in (each[:32], each[-32:]))
    merger.merge(halves(32))
    merger.merge(given)
    assert all(torch.equal(written(each), before) for each, before in zip(inner, first, strict=True))


def written(matrix: Matrix) -> Tensor:
    """All that a merge into float8 writes, as bytes."""
    return torch.cat([matrix.serving.view(torch.uint8), matrix.scale.view(torch.uint8)], dim=1)


def test_matrices_of_both_kinds_are_merged_together() -> None:
    if not has_float8():
        pytest.skip("needs a GPU with float8")
    matrices = [unwritten(drawn(*shape), float8) for shape in SHAPES[1:4] for float8 in (False, True)]
    given = [half for half in halves(16)[1:4] for _ in range(2)]
    Merger(matrices).merge(given)
    assert all(rounding_error(each, *half) <= 1 for each, half in zip(matrices, given, strict=True))


def test_a_weight_may_have_more_numbers_than_32_bits_count(float8: bool) -> None:
    rows, columns = 2**31 // 4096 + 112, 4096
    if torch.cuda.mem_get_info()[0] < 6 * rows * columns:
        pytest.skip("needs 13 GB of free memory")
    pristine = torch.zeros(rows, columns, dtype=torch.bfloat16, device="cuda")
    matrix = Matrix(pristine, torch.full_like(pristine, torch.nan))
    if float8:
        nothing = torch.full((rows, columns), 0x7F, dtype=torch.uint8, device="cuda")
        matrix = Matrix(pristine, nothing.view(FLOAT8), torch.full((rows, 1), torch.nan, device="cuda"))
    up, down = drawn(rows, 16), drawn(16, columns)
    Merger([matrix]).merge([(up, down)])
    for first in range(0, rows, 2**13):
        part = slice(first, first + 2**13)
        here = Matrix(*(each[part] for each in matrix if each is not None))
        assert rounding_error(here, up[part], down) <= 1, first


@pytest.fixture
def base() -> Base:
    torch.manual_seed(1)
    transformer = FluxTransformer2DModel(**GEOMETRY).to("cuda", torch.bfloat16).requires_grad_(False)
    no: Any = SimpleNamespace()
    return Base(
        no, transformer, no, no, no, no, no, torch.device("cuda", 0), torch.bfloat16, TIERS[0]
    )  # fmt: skip


def adapter(slot: AdapterSlot, seed: int, rank: int = 16) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    info = AdapterInfo(f"adapter-{seed}", f"person-{seed}", "random", rank)
    return Adapter(
        info,
        {
            name: torch.randn(slot.shape(name, rank), generator=generator).mul(0.1).to("cuda", torch.bfloat16)
            for name in slot.names
        },
    )


def weights(serving: Serving) -> dict[str, Tensor]:
    return {name: each.clone() for name, each in serving.base.transformer.state_dict().items()}


def differing(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """The share of numbers that are not the same bits."""
    assert one.keys() == two.keys()
    other = sum(int((bits(each) != bits(two[name])).sum()) for name, each in one.items())
    return other / sum(each.numel() for each in one.values())


def test_switches_leave_no_trace_also_after_a_release(
    base: Base, monkeypatch: pytest.MonkeyPatch, float8: bool
) -> None:
    slot = AdapterSlot(base.transformer)
    serving = Serving(base, slot, float8=float8)
    assert {merging._is_float8(place) for place in serving._at_once} == {float8}, "the kernel is used"
    people = [adapter(slot, seed, rank) for seed, rank in ((1, 16), (2, 32), (3, 128), (4, 4))]
    for turn in range(60):
        with serving.holding(people[turn * 7 % len(people)]):
            pass
        if turn % 20 == 19:
            serving.release()
            taken = [drawn(1024, 1024) for _ in range(40)]  # what was its memory is others' now
            del taken
    assert not serving._distrusted
    fresh = Serving(base, slot, float8=float8)
    monkeypatch.setattr(merging, "has_kernel", lambda *_: False)
    plain = Serving(base, slot, float8=float8)
    for one in people:
        with serving.holding(one), fresh.holding(one), plain.holding(one):
            assert differing(weights(serving), weights(fresh)) == 0
            assert differing(weights(serving), weights(plain)) < 0.03
    serving.forget(people[-1].info.adapter_id)
    assert differing(weights(serving), weights(Serving(base, slot, float8=float8))) == 0


def test_who_comes_back_from_the_host_is_the_same(base: Base, tmp_path: Path) -> None:
    slot = AdapterSlot(base.transformer)
    people = {seed: adapter(slot, seed) for seed in (1, 2, 3)}
    for seed, one in people.items():
        save_adapter(tmp_path / str(seed), one, torch.bfloat16)
    shelf = AdapterShelf(slot, "random", base.device, base.dtype, 1, 3 * num_bytes(people[1]))
    for turn in range(30):
        seed = turn % 3 + 1
        found = shelf.get(f"adapter-{seed}", tmp_path / str(seed))
        assert all(torch.equal(tensor, people[seed].tensors[name]) for name, tensor in found.tensors.items())
        assert all(tensor.is_cuda for tensor in found.tensors.values())
    assert all(flat.is_pinned() for _, flat in shelf._far.values())
    assert len(shelf._far) == 3
