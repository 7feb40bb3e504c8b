"""Lean blocks compute, train, merge and save what diffusers' own do."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from engine.acceleration import Acceleration
from engine.branch import LeanBranch
from engine.config import EngineConfig
from engine.lora import Adapter, AdapterSlot, load_adapter, save_adapter, unpacked
from engine.merging import Serving, _rows
from engine.models import Base, load_base
from engine.presets import recipe_for
from engine.residency import set_recompute
from engine.resources import Resources
from tests.engine.test_lora import adapter, look

CPU = torch.device("cpu")


def slot_of(cache_dir: Path, lean: bool) -> tuple[Base, AdapterSlot]:
    base = load_base(EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir)))
    return base, AdapterSlot(base.transformer, lean=lean)


@pytest.fixture
def apart(cache_dir: Path) -> tuple[Base, AdapterSlot]:
    return slot_of(cache_dir, lean=False)


@pytest.fixture
def lean(cache_dir: Path) -> tuple[Base, AdapterSlot]:
    return slot_of(cache_dir, lean=True)


def gradients(base: Base, slot: AdapterSlot, one: Adapter) -> dict[str, torch.Tensor]:
    latents = torch.randn(1, 16, 64, generator=torch.Generator().manual_seed(0))
    with slot.holding(one):
        text = base.encode_text("photo of sks person")
        base.predict(latents, torch.tensor([0.5]), [text], 8, 8, 1.0).square().mean().backward()
        return unpacked(one.info, slot.gradient(one.info.rank), slot).tensors


def test_each_input_has_one_product_and_no_name_changes(apart, lean) -> None:
    base, slot = lean
    branches = [each for each in base.transformer.modules() if isinstance(each, LeanBranch)]
    double, single = base.transformer.transformer_blocks, base.transformer.single_transformer_blocks
    assert len(branches) == 8 * len(double) + 2 * len(single)
    assert slot.names == apart[1].names
    assert all(slot.shape(name, 3) == apart[1].shape(name, 3) for name in slot.names)


def test_it_takes_no_more_memory(apart, lean) -> None:
    def size(base: Base) -> int:
        return sum(each.numel() for each in base.transformer.parameters())

    assert size(apart[0]) == size(lean[0])
    linears = lean[1].linears
    whole = lean[0].transformer.transformer_blocks[0].attn.to_qkv.base_layer.weight
    part = linears["transformer_blocks.0.attn.to_k"].weight
    assert part.data_ptr() == whole[len(whole) // 3].data_ptr()


def test_with_and_without_an_adapter_it_computes_the_same(apart, lean) -> None:
    one = adapter(*apart, seed=1)
    assert torch.allclose(look(apart[0]), look(lean[0]), atol=1e-5)
    with apart[1].holding(one), lean[1].holding(one):
        wanted, made = look(apart[0]), look(lean[0])
    assert torch.allclose(made, wanted, atol=1e-4)
    assert not torch.allclose(wanted, look(apart[0]), atol=1e-2)


def test_gradients_are_the_same(apart, lean) -> None:
    one = adapter(*apart, seed=2)
    wanted, made = gradients(*apart, one), gradients(*lean, one)
    for name, gradient in wanted.items():
        assert float(gradient.abs().max()) > 0
        torch.testing.assert_close(made[name], gradient, rtol=1e-3, atol=1e-6)


def test_attention_is_given_gradients_of_one_layout(lean, monkeypatch: pytest.MonkeyPatch) -> None:
    """Single blocks have it as a part of a wider matrix, which cuDNN reads wrong after one that is not."""
    layouts, attend = list[bool](), functional.scaled_dot_product_attention

    def watched(*given: torch.Tensor, **others: object) -> torch.Tensor:
        made = attend(*given, **others)
        if made.requires_grad:  # text encoders have attention too
            made.register_hook(lambda gradient: layouts.append(gradient.transpose(1, 2).is_contiguous()))
        return made

    monkeypatch.setattr(functional, "scaled_dot_product_attention", watched)
    gradients(*lean, adapter(*lean, seed=2))
    double, single = (lean[0].transformer.config[name] for name in ("num_layers", "num_single_layers"))
    assert layouts == [True] * (double + single)


def test_recomputed_activations_change_no_gradient(lean) -> None:
    """A job that ran out of memory trains so."""
    base, slot = lean
    one = adapter(base, slot, seed=2)
    wanted = gradients(base, slot, one)
    set_recompute(base.transformer, "all")
    made = gradients(base, slot, one)
    assert all(torch.equal(made[name], gradient) for name, gradient in wanted.items())


@pytest.mark.parametrize("fuse", [True, False])
def test_what_is_merged_is_the_same_to_the_bit(apart, lean, fuse: bool) -> None:
    one = adapter(*apart, seed=3)
    servings = Serving(*apart, fuse=True), Serving(*lean, fuse=fuse)
    with servings[0].holding(one), servings[1].holding(one):
        wanted, made = ({place.name: _rows(place) for place in each._places} for each in servings)
        assert wanted.keys() == made.keys()
        assert all(torch.equal(wanted[name], made[name]) for name in wanted)
        assert torch.allclose(look(servings[0].base), look(servings[1].base), atol=1e-5)


def test_files_go_both_ways(apart, lean, tmp_path: Path) -> None:
    for (base, mine), (_, theirs) in ((apart, lean), (lean, apart)):
        one = adapter(base, mine, seed=4)
        save_adapter(tmp_path / "a.safetensors", one)
        loaded = load_adapter(tmp_path / "a.safetensors", theirs, base.folder.revision, CPU)
        assert all(torch.equal(loaded.tensors[name], one.tensors[name]) for name in mine.names)


def test_in_float8_it_trains_nearly_the_same(apart, lean) -> None:
    from engine.float8 import FrozenFloat8Linear

    one = adapter(*apart, seed=5)
    wanted = gradients(*apart, one)
    lean[1].compute_with(FrozenFloat8Linear)
    made = gradients(*lean, one)
    exact, near = (torch.cat([each.flatten() for each in all.values()]) for all in (wanted, made))
    assert 0 < float((near - exact).norm() / exact.norm()) < 0.2


def test_packed_linears_stay_apart(cache_dir: Path) -> None:
    base = load_base(EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir), memory_tier="24gb"))
    AdapterSlot(base.transformer, lean=True)
    assert not [each for each in base.transformer.modules() if isinstance(each, LeanBranch)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated")  # by torch's own compiler
@pytest.mark.parametrize("fp8", ["off", "on"])
def test_it_compiles_in_one_piece_and_once(
    apart, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, fp8: str
) -> None:
    monkeypatch.setattr("engine.resources.usable", lambda device: True)
    config = EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir), memory_tier="80gb", fp8=fp8)
    plain, resources = Resources(load_base(config), config), Resources(load_base(config), config)
    accelerated = Acceleration(resources, recipe_for("balanced", resources.base.settings), "on")
    accelerated.start(backend="aot_eager")
    one = adapter(*apart, seed=6, rank=accelerated._recipe.rank)
    wanted, made = gradients(plain.base, plain.slot, one), gradients(resources.base, resources.slot, one)
    for name, gradient in wanted.items():
        torch.testing.assert_close(made[name], gradient, rtol=1e-3, atol=1e-6)
    with torch.no_grad():
        asked, holder = resources.drawing(less := resources.all.less())
        with holder.holding(one), plain.slot.holding(one):
            assert torch.allclose(look(asked), look(plain.base), atol=1e-4)
    assert not less.merged
    assert accelerated.recompiles == 0, "a job that ran out of memory waits for no compiler"
    with plain.serving.holding(one), resources.serving.holding(one):
        launched, compiled = look(plain.serving.base), look(resources.serving.base)
    # In float8 a product is rounded before it is scaled instead of after it.
    error = float((compiled - launched).norm() / launched.norm())
    assert error < (0.02 if fp8 == "on" else 1e-5)
