"""A transformer that was made smaller computes nearly the same, and still trains what is attached to it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.config import EngineConfig
from engine.dataset import Dataset
from engine.lora import Adapter, AdapterInfo, AdapterSlot
from engine.memory import FrozenLinear, MemoryPlan, shrink
from engine.models import Base, load_base
from engine.presets import Recipe
from engine.selfies import Selfie
from engine.trainer import Training

CPU = torch.device("cpu")
RECIPE = Recipe(
    rank=4, steps=6, batch_size=2, learning_rate=3e-3, warmup_steps=2, resolutions_px=(64,), ema_decay=0.8
)
# Of the prediction, relative: a tiny transformer with random weights has no redundancy to hide rounding in.
TOLERANCE = {"bf16": 0.0, "fp8": 0.08, "int4": 0.3}


@pytest.fixture
def fresh(cache_dir: Path) -> Callable[[], Base]:
    """A base that nothing was attached to yet."""
    return lambda: load_base(EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir)))


def adapter(slot: AdapterSlot, base: Base) -> Adapter:
    generator = torch.Generator().manual_seed(3)
    made = slot.fresh(AdapterInfo("a", "p", base.folder.revision, 4), generator)
    for name, tensor in made.tensors.items():
        if name.endswith("lora_B"):
            tensor.normal_(std=0.2, generator=generator)
    return made


def looked(base: Base) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 16, 64, generator=generator)
    texts = [base.encode_text("photo of sks person"), base.encode_text("a suit")]
    return base.predict(latents, torch.tensor([0.3, 0.8]), texts, 8, 8, 1.0)


def gradients(base: Base, slot: AdapterSlot) -> list[torch.Tensor]:
    with slot.holding(adapter(slot, base)):
        return list(torch.autograd.grad((looked(base) ** 2).mean(), slot.parameters))


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


PLANS = [
    MemoryPlan(recompute="all"),
    MemoryPlan("fp8"),
    MemoryPlan("int4"),
    MemoryPlan("bf16", offload_blocks=1),
    MemoryPlan("bf16", recompute="all", offload_blocks=2),
    MemoryPlan("fp8", recompute="all", offload_blocks=2),
    MemoryPlan("int4", recompute="all", offload_blocks=9),
]


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("slot_first", [True, False])
def test_predictions_and_gradients_are_those_of_the_whole_but_for_rounding(
    fresh: Callable[[], Base], plan: MemoryPlan, slot_first: bool
) -> None:
    whole, small = fresh(), fresh()
    slot = AdapterSlot(whole.transformer)
    if slot_first:
        small_slot = AdapterSlot(small.transformer)
        shrink(small.transformer, plan)
    else:
        shrink(small.transformer, plan)
        small_slot = AdapterSlot(small.transformer)
    assert small_slot.names == slot.names
    with torch.no_grad():
        bare = error(looked(small), looked(whole))
        with slot.holding(adapter(slot, whole)), small_slot.holding(adapter(small_slot, small)):
            adapted = error(looked(small), looked(whole))
    found, wanted = gradients(small, small_slot), gradients(whole, slot)
    together = error(torch.cat([g.flatten() for g in found]), torch.cat([g.flatten() for g in wanted]))
    limit = TOLERANCE[plan.weights]
    assert max(bare, adapted, together) <= (limit or 1e-6)
    if limit:
        assert min(bare, adapted, together) > 1e-4, "nothing was rounded: the plan was not carried out"
    assert {gradient.dtype for gradient in found} == {torch.float32}


@pytest.mark.parametrize("plan", [MemoryPlan("fp8", True, 1), MemoryPlan("int4", True, 2)], ids=str)
def test_a_training_on_it_resumes_bit_for_bit(
    fresh: Callable[[], Base], plan: MemoryPlan, coloured_photos: Callable, accelerator, tmp_path: Path
) -> None:
    base = fresh()
    shrink(base.transformer, plan)
    slot, data = AdapterSlot(base.transformer), Dataset()
    for path in coloured_photos((220, 40, 40), 3):
        data.add(Selfie.of(path, {}), base, RECIPE)
    while data.say(base):
        pass

    def training(name: str) -> Training:
        info = AdapterInfo("a", "p", base.folder.revision, RECIPE.rank)
        return Training(base, slot, data, RECIPE, info, tmp_path / name, 7, accelerator)

    straight = training("straight")
    losses = [straight.step() for _ in range(RECIPE.steps)]
    begun = training("halved")
    first = [begun.step() for _ in range(3)]
    begun.save()
    resumed = training("halved")
    assert resumed.step_index == 3
    assert first + [resumed.step() for _ in range(3)] == losses
    assert all(
        torch.equal(tensor, straight.adapter.tensors[name])
        for name, tensor in resumed.adapter.tensors.items()
    )
    fresh_tensors = training("new").adapter.tensors
    assert any(
        not torch.equal(tensor, fresh_tensors[name]) for name, tensor in straight.adapter.tensors.items()
    )


def test_the_weights_of_the_blocks_take_fewer_bytes(fresh: Callable[[], Base]) -> None:
    def stored(plan: MemoryPlan) -> int:
        base = fresh()
        base.transformer.to(torch.bfloat16)
        shrink(base.transformer, plan)
        tensors = [*base.transformer.parameters(), *base.transformer.buffers()]
        blocks = sum(t.numel() * t.element_size() for t in tensors)
        linears = [m for m in base.transformer.modules() if isinstance(m, FrozenLinear)]
        assert bool(linears) == (plan.weights != "bf16" or plan.offload_blocks > 0)
        return blocks

    full, fp8, int4 = (stored(MemoryPlan(weights)) for weights in ("bf16", "fp8", "int4"))
    away = stored(MemoryPlan(offload_blocks=9))
    assert away < int4 < fp8 < full


def test_recompute_keeps_less_and_can_be_switched_off_again(fresh: Callable[[], Base]) -> None:
    base = fresh()
    slot = AdapterSlot(base.transformer)

    def kept() -> int:
        sizes: list[int] = []

        def note(tensor: torch.Tensor) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with (
            slot.holding(adapter(slot, base)),
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        ):
            looked(base)
        return sum(sizes)

    everything = kept()
    shrink(base.transformer, MemoryPlan(recompute="all"))
    assert kept() < everything / 2
    shrink(base.transformer, MemoryPlan())
    assert kept() == everything


@pytest.mark.parametrize("plan", [MemoryPlan("fp8"), MemoryPlan("int4", offload_blocks=2)], ids=str)
def test_what_is_packed_is_not_packed_again(fresh: Callable[[], Base], plan: MemoryPlan) -> None:
    base = fresh()
    shrink(base.transformer, plan)
    with torch.no_grad():
        once = looked(base)
        shrink(base.transformer, replace(plan, recompute="all"))
        assert torch.equal(looked(base), once)


def test_the_weight_of_a_frozen_linear_is_loud_where_it_is_misread() -> None:
    linear = torch.nn.Linear(96, 32)
    layer = FrozenLinear(linear, "fp8", CPU, None)
    assert layer.weight.shape == linear.weight.shape
    assert layer.weight.dtype == torch.float32
    assert torch.isnan(layer.weight).all()
    with pytest.raises(RuntimeError):
        layer.weight.add_(1)
    assert error(layer.dense(torch.float32), linear.weight.detach()) < 0.05


def test_plans_are_checked() -> None:
    with pytest.raises(ValueError, match="int3"):
        MemoryPlan("int3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="offload_blocks"):
        MemoryPlan(offload_blocks=-1)
