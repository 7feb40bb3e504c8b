"""Merged adapters: the same pictures as a branch gives, bit for bit the same after any number of switches,
never two people's, and never in a training."""

import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from engine import merging
from engine.float8 import Float8Linear
from engine.generator import Drawing, Frame, Shot
from engine.lora import Adapter, AdapterInfo, AdapterSlot
from engine.merging import Serving
from tests.engine.merging_on_cpu import Launches, bits
from tests.engine.test_lora import adapter, look


@pytest.fixture
def serving(base, slot: AdapterSlot) -> Serving:
    return Serving(base, slot)


def weights(serving: Serving) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in serving.base.transformer.state_dict().items()}


def addresses(serving: Serving) -> dict[str, int]:
    state = serving.base.transformer.state_dict()
    return {name: tensor.data_ptr() for name, tensor in state.items() if tensor.numel()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(bits(tensor), bits(b[name])) for name, tensor in a.items()
    )


def pictures(base, holder, one: Adapter) -> list[np.ndarray]:
    taken: list[np.ndarray] = []
    shots = {index: Shot("photo of sks person", (index,)) for index in range(2)}
    drawing = Drawing(
        base, holder, one, Frame(64, 64, 4, 1.0), shots, lambda _, pixels: taken.append(pixels.astype(int))
    )
    while not drawing.finished:
        drawing.step()
    return taken


@pytest.mark.parametrize("fuse", [True, False])
def test_it_computes_what_the_branch_computes(base, slot: AdapterSlot, fuse: bool) -> None:
    serving, one = Serving(base, slot, fuse=fuse), adapter(base, slot, 1)
    with slot.holding(one):
        branch = look(base)
    with serving.holding(one):
        assert torch.allclose(look(serving.base), branch, atol=1e-4)
    assert not torch.allclose(look(base), branch, atol=1e-2), "the adapter changes something"


def test_its_pictures_are_the_branches_within_rounding(base, slot: AdapterSlot, serving: Serving) -> None:
    one, two = adapter(base, slot, 1), adapter(base, slot, 2, rank=8, person="ben")
    for each, other in ((one, two), (two, one)):
        merged, branch, others = (
            pictures(serving.base, serving, each), pictures(base, slot, each), pictures(base, slot, other)
        )  # fmt: skip
        assert max(np.abs(a - b).max() for a, b in zip(merged, branch, strict=True)) <= 1
        assert min(np.abs(a - b).max() for a, b in zip(merged, others, strict=True)) > 10


def test_a_thousand_switches_leave_no_trace_and_move_nothing(
    base, slot: AdapterSlot, serving: Serving
) -> None:
    """Bit for bit against a twin that never held anybody else."""
    people = [adapter(base, slot, seed, rank, f"p{seed}") for seed, rank in ((1, 4), (2, 8), (3, 16), (4, 1))]
    before, random = addresses(serving), np.random.default_rng(1)
    for turn in range(1000):
        with serving.holding(people[random.integers(len(people))]):
            pass
        if turn == 500:
            serving.forget("adapter-p1")
    assert serving.merges > 700
    for one in people:
        fresh = Serving(base, slot)
        with serving.holding(one), fresh.holding(one):
            assert same(weights(serving), weights(fresh))
    assert addresses(serving) == before


def test_the_base_itself_is_never_changed_and_its_slot_stays_empty(
    base, slot: AdapterSlot, serving: Serving
) -> None:
    bare, kept = look(base), {name: linear.weight.clone() for name, linear in slot.linears.items()}
    one, two = adapter(base, slot, 1), adapter(base, slot, 2, person="ben")
    with serving.holding(one):
        assert torch.equal(look(base), bare), "who is merged is not in the base"
        with slot.holding(two):  # as a training does, between two steps of a shoot
            in_training = look(base)
            merged = look(serving.base)
        with slot.holding(one):
            assert torch.allclose(merged, look(base), atol=1e-4), "nor is who is trained in the twin"
    with slot.holding(two):
        assert torch.equal(look(base), in_training)
    assert all(torch.equal(linear.weight, kept[name]) for name, linear in slot.linears.items())


def test_the_same_adapter_is_merged_once(base, slot: AdapterSlot, serving: Serving) -> None:
    one = adapter(base, slot, 1)
    for _ in range(5):
        with serving.holding(one):
            pass
    assert serving.merges == 1


def test_who_is_forgotten_is_gone_from_the_weights(base, slot: AdapterSlot, serving: Serving) -> None:
    empty, one = weights(serving), adapter(base, slot, 1)
    with serving.holding(one):
        pass
    serving.forget("adapter-ben")
    assert not same(weights(serving), empty)
    serving.forget("adapter-ada")
    assert same(weights(serving), empty)


def test_who_is_forgotten_is_gone_also_where_there_is_no_room_to_write(
    base, slot: AdapterSlot, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving, one = Serving(base, slot, float8=True), adapter(base, slot, 1)
    with serving.holding(one):
        first = look(serving.base)

    def no_room(*_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(Float8Linear, "write", no_room)
        serving.forget("adapter-ada")
    assert serving.released
    with serving.holding(one):
        assert torch.equal(look(serving.base), first)


def test_a_merge_that_failed_is_not_taken_for_one(base, slot: AdapterSlot, serving: Serving) -> None:
    one, two = adapter(base, slot, 1), adapter(base, slot, 2, person="ben")
    torn = replace(two, tensors={**two.tensors, slot.names[-1]: torch.zeros(3, 3)})
    with serving.holding(one):
        pass
    with pytest.raises((RuntimeError, ValueError)), serving.holding(torn):
        pass
    fresh = Serving(base, slot)
    with serving.holding(one), fresh.holding(one):
        assert same(weights(serving), weights(fresh))


def test_all_but_the_adapted_linears_is_shared(base, slot: AdapterSlot, serving: Serving) -> None:
    own = {tensor.data_ptr() for tensor in serving.base.transformer.state_dict().values()}
    shared = own & {tensor.data_ptr() for tensor in base.transformer.state_dict().values()}
    assert len(own - shared) < len(slot.linears), "projections of one input lie together"
    assert base.transformer.x_embedder.weight.data_ptr() in shared
    assert not {linear.weight.data_ptr() for linear in slot.linears.values()} & own


def relative(made: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((made - wanted).float().norm() / wanted.float().norm())


def test_in_float8_it_is_near_and_as_exact_from_switch_to_switch(base, slot: AdapterSlot) -> None:
    serving, one, two = Serving(base, slot, float8=True), adapter(base, slot, 1), adapter(base, slot, 2)
    with slot.holding(one):
        branch = look(base)
    with serving.holding(one):
        first = look(serving.base)
    assert 0 < relative(first, branch) < 0.1
    with serving.holding(two):
        assert not torch.equal(look(serving.base), first)
    with serving.holding(one):
        assert torch.equal(look(serving.base), first)


def test_in_bfloat16_the_sum_is_rounded_once(base, slot: AdapterSlot, half: Callable) -> None:
    small = half()
    its_slot = AdapterSlot(small.transformer)
    serving, one = Serving(small, its_slot, fuse=False), adapter(base, slot, 1)
    with serving.holding(one):
        for name, linear in its_slot.linears.items():
            up, down = (one.tensors[f"{name}.lora_{half}"].bfloat16().double() for half in "BA")
            exact = linear.weight.double() + up @ down
            got = serving.base.transformer.get_submodule(name).weight.double()
            assert float(((got - exact).abs() / exact.abs().clamp(min=1e-3)).max()) <= 2**-8


@pytest.fixture
def half(cache_dir) -> Callable:
    """A base of its own in bfloat16."""
    from engine.config import EngineConfig
    from engine.models import load_base

    def make():
        base = load_base(EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir)))
        base.transformer.bfloat16()
        return replace(base, dtype=torch.bfloat16)

    return make


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    """As if there were a GPU with a kernel."""
    kernel = Launches()
    kernel.replace(monkeypatch)
    monkeypatch.setattr(merging, "has_kernel", lambda *_: True)
    return kernel


@pytest.fixture(params=[False, True], ids=["bfloat16", "float8"])
def both(
    request: pytest.FixtureRequest, half: Callable, launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> tuple[AdapterSlot, Serving, Serving]:
    """A slot, what merges for it by the kernel, and what merges for it without."""
    small = half()
    its_slot = AdapterSlot(small.transformer)
    serving = Serving(small, its_slot, float8=request.param)
    monkeypatch.setattr(merging, "has_kernel", lambda *_: False)
    return its_slot, serving, Serving(small, its_slot, float8=request.param)


@pytest.mark.parametrize("float8", [False, True])
@pytest.mark.parametrize("fuse", [True, False])
def test_the_kernel_is_given_what_the_plain_way_is_also_after_a_release(
    base, half: Callable, launches: Launches, monkeypatch: pytest.MonkeyPatch, fuse: bool, float8: bool
) -> None:
    small = half()
    its_slot = AdapterSlot(small.transformer)
    people = [adapter(base, its_slot, seed, rank) for seed, rank in ((1, 16), (2, 32), (3, 128))]
    serving = Serving(small, its_slot, fuse=fuse, float8=float8)
    monkeypatch.setattr(merging, "has_kernel", lambda *_: False)
    plain = Serving(small, its_slot, fuse=fuse, float8=float8)
    grids = launches.float8_grids if float8 else launches.grids
    for turn, one in enumerate((*people, people[0])):
        before = len(grids)
        with serving.holding(one), plain.holding(one):
            assert same(weights(serving), weights(plain))
        assert 0 < len(grids) - before < len(its_slot.linears), "a launch for each shape"
        if turn == 1:
            serving.release()
            taken = [torch.empty_like(each) for each in weights(serving).values()]  # its memory, most likely
            del taken
    assert sum(count for _, count in grids) == 4 * len(its_slot.linears)
    assert len(launches.grids + launches.float8_grids) == len(grids), "of one kind alone"


def test_a_kernel_that_is_not_allowed_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.merge_kernel.usable", lambda *_: True)
    assert merging.has_kernel(torch.device("cuda", 0))
    monkeypatch.setattr(merging, "kernels_allowed", lambda: False)
    assert not merging.has_kernel(torch.device("cuda", 0))


def test_without_a_kernel_for_float8_it_is_merged_the_plain_way(
    base, half: Callable, launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "has_kernel", lambda _, float8: not float8)
    small = half()
    its_slot = AdapterSlot(small.transformer)
    serving, one = Serving(small, its_slot, float8=True), adapter(base, its_slot, 1, rank=16)
    with serving.holding(one), its_slot.holding(one):
        assert 0 < relative(look(serving.base), look(small)) < 0.1
    assert not launches.grids + launches.float8_grids


def test_a_kernel_that_is_wrong_for_a_rank_gives_nobody_a_face(
    base, both: tuple[AdapterSlot, Serving, Serving], launches: Launches, caplog
) -> None:
    its_slot, serving, plain = both
    launches.broken = True
    for seed in (1, 2):
        one = adapter(base, its_slot, seed, rank=16)
        with serving.holding(one), plain.holding(one):
            assert same(weights(serving), weights(plain))
    assert caplog.messages.count("merge_kernel_is_wrong") == 1
    launches.broken = False
    before, other = len(launches.grids + launches.float8_grids), adapter(base, its_slot, 3, rank=32)
    with serving.holding(other), plain.holding(other):
        assert same(weights(serving), weights(plain))
    assert len(launches.grids + launches.float8_grids) > before, "another rank is another kernel"


def test_an_adapter_that_changes_nothing_proves_nothing(
    base, both: tuple[AdapterSlot, Serving, Serving], launches: Launches
) -> None:
    its_slot, serving, plain = both
    launches.idle = True
    info = AdapterInfo("fresh", "p", base.folder.revision, 16)
    for one in (its_slot.fresh(info, torch.Generator()), adapter(base, its_slot, 1, rank=16)):
        with serving.holding(one), plain.holding(one):
            assert same(weights(serving), weights(plain))


def test_where_the_kernel_cannot_run_the_plain_way_merges(
    base, half: Callable, launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("out of resources: shared memory")

    small = half()
    its_slot = AdapterSlot(small.transformer)
    serving, one = Serving(small, its_slot), adapter(base, its_slot, 1, rank=64)
    monkeypatch.setattr(launches, "launch", fails)
    launches.replace(monkeypatch)
    with serving.holding(one), its_slot.holding(one):
        assert relative(look(serving.base), look(small)) < 0.05


def test_a_release_gives_memory_back_that_the_kernel_knew(base, half: Callable, launches: Launches) -> None:
    small = half()
    its_slot = AdapterSlot(small.transformer)
    serving = Serving(small, its_slot)
    with serving.holding(adapter(base, its_slot, 1, rank=16)):
        storages = [weakref.ref(place.serving.weight.untyped_storage()) for place in serving._places]
    assert all(each() is not None for each in storages)
    serving.release()
    assert all(each() is None for each in storages)


def test_without_a_kernel_for_it_the_plain_way_merges(
    base, slot: AdapterSlot, half: Callable, launches
) -> None:
    """Other ranks, and from float32."""
    small = half()
    its_slot = AdapterSlot(small.transformer)
    other = adapter(base, its_slot, 1, rank=4)
    serving = Serving(small, its_slot)
    with serving.holding(other), its_slot.holding(other):
        assert relative(look(serving.base), look(small)) < 0.05
    for each in (Serving(base, slot), Serving(base, slot, float8=True)):
        with each.holding(adapter(base, slot, 1, rank=16)):
            pass
    assert not launches.grids + launches.float8_grids


def test_a_merge_that_the_kernel_refused_is_not_taken_for_one(
    base, half: Callable, launches: Launches
) -> None:
    small = half()
    its_slot = AdapterSlot(small.transformer)
    serving, one = Serving(small, its_slot), adapter(base, its_slot, 1, rank=16)
    torn = replace(one, tensors={**one.tensors, its_slot.names[-1]: torch.zeros(3, 3)})
    with pytest.raises((RuntimeError, ValueError)), serving.holding(torn):
        pass
    with serving.holding(one):
        pass
    assert serving.merges == 1


def test_the_info_of_an_adapter_is_not_needed_to_merge(base, slot: AdapterSlot, serving: Serving) -> None:
    fresh = slot.fresh(AdapterInfo("n", "p", base.folder.revision, 4), torch.Generator().manual_seed(1))
    with serving.holding(fresh):
        assert torch.allclose(look(serving.base), look(base), atol=1e-5), "a fresh one changes nothing"
