"""One product for query, key and value computes, trains, merges and saves what three do."""

from pathlib import Path

import pytest
import torch

from engine.acceleration import Acceleration
from engine.branch import FusedBranch
from engine.config import EngineConfig
from engine.lora import Adapter, AdapterSlot, load_adapter, save_adapter
from engine.merging import Serving
from engine.models import Base, load_base
from engine.presets import recipe_for
from engine.resources import Resources
from tests.engine.test_lora import adapter, look

CPU = torch.device("cpu")


def slot_of(cache_dir: Path, fuse: bool) -> tuple[Base, AdapterSlot]:
    base = load_base(EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir)))
    return base, AdapterSlot(base.transformer, fuse=fuse)


@pytest.fixture
def apart(cache_dir: Path) -> tuple[Base, AdapterSlot]:
    return slot_of(cache_dir, fuse=False)


@pytest.fixture
def fused(cache_dir: Path) -> tuple[Base, AdapterSlot]:
    return slot_of(cache_dir, fuse=True)


def gradients(base: Base, slot: AdapterSlot, one: Adapter) -> dict[str, torch.Tensor]:
    latents = torch.randn(1, 16, 64, generator=torch.Generator().manual_seed(0))
    with slot.holding(one):
        text = base.encode_text("photo of sks person")
        base.predict(latents, torch.tensor([0.5]), [text], 8, 8, 1.0).square().mean().backward()
        return {name: each.grad.clone() for name, each in zip(slot.names, slot.parameters, strict=True)}


def test_every_attention_is_fused_and_no_name_changes(apart, fused) -> None:
    base, slot = fused
    branches = [each for each in base.transformer.modules() if isinstance(each, FusedBranch)]
    double, single = base.transformer.transformer_blocks, base.transformer.single_transformer_blocks
    assert len(branches) == 2 * len(double) + len(single)
    assert slot.names == apart[1].names
    assert all(slot.shape(name, 3) == apart[1].shape(name, 3) for name in slot.names)


def test_it_takes_no_more_memory(apart, fused) -> None:
    def size(base: Base) -> int:
        return sum(each.numel() for each in base.transformer.parameters())

    assert size(apart[0]) == size(fused[0])
    linears = fused[1].linears
    whole = fused[0].transformer.transformer_blocks[0].attn.to_qkv.base_layer.weight
    part = linears["transformer_blocks.0.attn.to_k"].weight
    assert part.data_ptr() == whole[len(whole) // 3].data_ptr()


def test_with_and_without_an_adapter_it_computes_the_same(apart, fused) -> None:
    one = adapter(*apart, seed=1)
    assert torch.allclose(look(apart[0]), look(fused[0]), atol=1e-5)
    with apart[1].holding(one), fused[1].holding(one):
        wanted, made = look(apart[0]), look(fused[0])
    assert torch.allclose(made, wanted, atol=1e-4)
    assert not torch.allclose(wanted, look(apart[0]), atol=1e-2)


def test_gradients_are_the_same(apart, fused) -> None:
    one = adapter(*apart, seed=2)
    wanted, made = gradients(*apart, one), gradients(*fused, one)
    for name, gradient in wanted.items():
        assert float(gradient.abs().max()) > 0
        torch.testing.assert_close(made[name], gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("fuse", [True, False])
def test_what_is_merged_is_the_same_to_the_bit(apart, fused, fuse: bool) -> None:
    one = adapter(*apart, seed=3)
    servings = Serving(*apart, fuse=True), Serving(*fused, fuse=fuse)
    with servings[0].holding(one), servings[1].holding(one):
        wanted, made = (each.base.transformer.state_dict() for each in servings)
        blocks = [name for name in wanted if "lora_" not in name]
        assert blocks == [name for name in made if "lora_" not in name]
        assert all(torch.equal(wanted[name], made[name]) for name in blocks)
        assert torch.allclose(look(servings[0].base), look(servings[1].base), atol=1e-5)


def test_files_go_both_ways(apart, fused, tmp_path: Path) -> None:
    for (base, mine), (_, theirs) in ((apart, fused), (fused, apart)):
        one = adapter(base, mine, seed=4)
        save_adapter(tmp_path / "a.safetensors", one)
        loaded = load_adapter(tmp_path / "a.safetensors", theirs, base.folder.revision, CPU)
        assert all(torch.equal(loaded.tensors[name], one.tensors[name]) for name in mine.names)


def test_in_float8_it_trains_nearly_the_same(apart, fused) -> None:
    from engine.float8 import FrozenFloat8Linear

    one = adapter(*apart, seed=5)
    wanted = gradients(*apart, one)
    fused[1].compute_with(FrozenFloat8Linear)
    made = gradients(*fused, one)
    exact, near = (torch.cat([each.flatten() for each in all.values()]) for all in (wanted, made))
    assert 0 < float((near - exact).norm() / exact.norm()) < 0.2


def test_packed_linears_stay_apart(cache_dir: Path) -> None:
    base = load_base(EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir), memory_tier="24gb"))
    AdapterSlot(base.transformer, fuse=True)
    assert not [each for each in base.transformer.modules() if isinstance(each, FusedBranch)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_it_compiles_in_one_piece_and_once(apart, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.resources.FUSES", frozenset({"cpu"}))
    config = EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir), memory_tier="80gb")
    resources = Resources(load_base(config), config)
    recipe = recipe_for("balanced", resources.base.settings)
    accelerated = Acceleration(resources, recipe, "on")
    accelerated.start(backend="eager")
    one = adapter(*apart, seed=6, rank=recipe.rank)
    wanted, made = gradients(*apart, one), gradients(resources.base, resources.slot, one)
    assert all(torch.allclose(made[name], wanted[name], rtol=1e-3, atol=1e-6) for name in wanted)
    assert accelerated.recompiles == 0
