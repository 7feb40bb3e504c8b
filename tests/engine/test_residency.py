"""A base brought to its device: the same text states layer by layer, and a plan that is obeyed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from engine.config import EngineConfig
from engine.inspection import Inspector
from engine.memory import FrozenLinear
from engine.messages import MakeHeadshots, Progress, TrainAdapter
from engine.models import load_base
from engine.pictures import read_picture, write_picture
from engine.presets import recipe_for
from engine.residency import by_layer, device_id, set_recompute, settle, tier_of
from engine.resources import Resources
from engine.shoot_work import ShootWork
from engine.tiers import CPU_TIER, TIERS, Tier
from engine.training_work import TrainingWork
from engine.work import Work
from tests.engine.at_once import at_once
from tests.engine.test_lora import look

CPU = torch.device("cpu")


@pytest.fixture
def own(cache_dir):
    """A base that may be changed."""
    return load_base(EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir)))


def test_layer_by_layer_the_text_is_the_same_and_the_weights_are_home_again(own) -> None:
    before = own._encoded("photo of sks person")
    homes = [tensor.data_ptr() for tensor in own.t5.encoder.block.parameters()]
    seen = []
    by_layer(own.t5, own.t5.encoder.block, CPU)
    own.t5.encoder.block[0].layer[0].register_forward_pre_hook(
        lambda module, _: seen.append(next(module.parameters()).data_ptr())
    )
    after = own._encoded("photo of sks person")
    assert torch.equal(before.tokens, after.tokens)
    assert [tensor.data_ptr() for tensor in own.t5.encoder.block.parameters()] == homes
    assert len(seen) == 1
    assert seen[0] not in homes, "it computed with a copy"


def test_a_layer_that_fails_goes_home_too(own) -> None:
    homes = [tensor.data_ptr() for tensor in own.t5.encoder.block.parameters()]
    by_layer(own.t5, own.t5.encoder.block, CPU)

    def fall_over(*_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    own.t5.encoder.block[0].layer[0].register_forward_pre_hook(fall_over)
    with pytest.raises(torch.OutOfMemoryError):
        own.encode_text("photo of sks person")
    assert [tensor.data_ptr() for tensor in own.t5.encoder.block.parameters()] == homes


def test_the_tier_decides_the_weights(own) -> None:
    exact = look(own)
    settle(TIERS[3], CPU, own.transformer, own.t5, own.vae, own.clip)
    packed = [module for module in own.transformer.modules() if isinstance(module, FrozenLinear)]
    assert packed
    assert own.transformer.gradient_checkpointing
    assert not torch.equal(look(own), exact)


def test_recomputing_can_be_switched(own) -> None:
    set_recompute(own.transformer, "some")
    assert own.transformer.gradient_checkpointing
    set_recompute(own.transformer, "none")
    assert not own.transformer.gradient_checkpointing


def test_the_tier_is_found_for_what_is_there(own) -> None:
    assert tier_of("auto", CPU, own.transformer) is CPU_TIER
    assert tier_of("16gb", CPU, own.transformer) is TIERS[3]


def drawn(tier: Tier, cache_dir: Path, photos: list[str], folder: Path, accelerator) -> np.ndarray:
    """A headshot of an adapter that was trained for a few steps, all of it on the base in that tier."""
    config = EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir), memory_tier=tier.name)
    resources = Resources(load_base(config), config)
    resources.grant(resources.all)
    recipe = replace(recipe_for("balanced", resources.base.settings), steps=4)
    path = str(folder / f"{tier.name}.safetensors")
    request = TrainAdapter("t", "ada", "a", tuple(photos), str(folder / tier.name), path)
    eyes = Inspector(config)
    finish(TrainingWork(request, resources.base, resources.slot, recipe, accelerator, eyes))
    shots = MakeHeadshots("s", "ada", "a", path, "photo of {subject}", 1, 1, str(folder / tier.name))
    drawing, shelf = resources.drawing(resources.all), resources.shelf
    made = finish(ShootWork(shots, *drawing, shelf, eyes, write_picture, at_once()))
    return read_picture(Path(made.pictures[0].path)).astype(float)


def finish(work: Work) -> Any:
    while isinstance(reply := work.quantum(), Progress):
        pass
    return reply


def test_every_tier_trains_and_draws_the_same_but_for_rounding(
    cache_dir: Path, coloured_photos: Callable, tmp_path: Path, accelerator
) -> None:
    photos = coloured_photos((200, 60, 60), 3)
    pictures = {tier.name: drawn(tier, cache_dir, photos, tmp_path, accelerator) for tier in TIERS}
    whole, packed = pictures["80gb"], pictures["24gb"]
    assert np.array_equal(pictures["48gb"], whole)
    assert np.array_equal(pictures["16gb"], packed), "where a block waits changes no bit"
    for rounded in (packed, pictures["12gb"]):
        assert 0 < np.abs(rounded - whole).mean() / whole.std() < 0.1


def test_engines_of_one_host_are_told_apart_by_their_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sees one, and it is the first."""
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: SimpleNamespace(uuid="5ec361c5"))
    assert device_id(CPU) == "cpu"
    assert device_id(torch.device("cuda", 0)) == "GPU-5ec361c5"
