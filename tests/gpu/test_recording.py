"""CUDA graphs replay what was launched: trainings, and pictures of whoever is merged."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from benchmarks.training_overhead import random_dataset
from engine.config import EngineConfig
from engine.lora import Adapter, AdapterInfo, AdapterSlot
from engine.merging import Serving
from engine.models import load_base
from engine.presets import recipe_for
from engine.recording import GraphRecorder
from engine.trainer import Training

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
STEPS = 40


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("cache")
    return load_base(EngineConfig(base="tiny", device="cuda", cache_dir=str(folder)))


@pytest.fixture(scope="module")
def slot(base) -> AdapterSlot:
    return AdapterSlot(base.transformer)


@pytest.fixture
def make(base, slot) -> Callable[..., Training]:
    recipe = replace(recipe_for("balanced", base.settings), steps=STEPS, batch_size=2)
    dataset = random_dataset(base, recipe)

    def training(folder: Path, recorder: GraphRecorder | None, seed: int = 1) -> Training:
        info = AdapterInfo("a", "p", base.folder.revision, recipe.rank)
        accelerator = Accelerator(mixed_precision="no")
        return Training(base, slot, dataset, recipe, info, folder, seed, accelerator, recorder=recorder)

    return training


def run(training: Training) -> list[float]:
    return [training.step() for _ in range(training.total_steps - training.step_index)]


def far(one: Training, other: Training) -> float:
    """Relative: a few kernels add up in another order each time."""
    return float((one._weights - other._weights).norm() / one._weights.norm())


def test_a_recorded_training_is_the_launched_one(base, make: Callable, tmp_path: Path) -> None:
    launched, recorded = make(tmp_path / "1", None), make(tmp_path / "2", GraphRecorder(base.device))
    assert run(launched) == pytest.approx(run(recorded), rel=0.02)
    assert recorded._gradient._passes._recorded
    assert far(launched, recorded) < 0.01


def test_two_in_turn_and_one_that_goes_on_from_its_checkpoint(base, make: Callable, tmp_path: Path) -> None:
    alone = [make(tmp_path / f"alone-{seed}", None, seed) for seed in (1, 2)]
    for training in alone:
        run(training)
    both = [make(tmp_path / f"both-{seed}", GraphRecorder(base.device), seed) for seed in (1, 2)]
    for _ in range(STEPS // 2):
        for training in both:
            training.step()
    both[0].save()
    both[0] = make(tmp_path / "both-1", GraphRecorder(base.device), 1)
    assert both[0].resumed
    for _ in range(STEPS // 2):
        for training in both:
            training.step()
    assert far(alone[0], both[0]) < 0.01
    assert far(alone[1], both[1]) < 0.01


def test_without_room_nothing_is_recorded(base, make: Callable, tmp_path: Path) -> None:
    card = torch.cuda.get_device_properties(base.device).total_memory >> 20
    training = make(tmp_path, GraphRecorder(base.device, reserve_mib=card))
    run(training)
    assert not training._gradient._passes._recorded


def person(base, slot: AdapterSlot, seed: int) -> Adapter:
    info = AdapterInfo(f"a{seed}", f"p{seed}", base.folder.revision, 4)
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(slot.shape(name, 4), generator=generator) * 0.3 for name in slot.names}
    return Adapter(info, tensors).to(base.device, base.dtype)


@torch.no_grad()
def test_recorded_pictures_are_the_launched_ones_whoever_comes_next(base, slot: AdapterSlot) -> None:
    launched, recorded = Serving(base, slot), Serving(base, slot, recorder=GraphRecorder(base.device))
    people = [person(base, slot, seed) for seed in (1, 2)]
    text = base.encode_text("photo of sks person")

    def look(serving: Serving, one: Adapter, seed: int) -> torch.Tensor:
        latents = torch.randn(1, 16, 64, generator=torch.Generator().manual_seed(seed)).to(base.device)
        with serving.holding(one):
            return serving.base.predict(latents, torch.full((1,), 0.7), [text], 8, 8, 3.5).clone()

    wanted = [look(launched, people[turn % 2], turn) for turn in range(8)]
    made = [look(recorded, people[turn % 2], turn) for turn in range(8)]
    assert recorded.base.replays is not None
    assert recorded.base.replays._recorded
    for one, other in zip(wanted, made, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(wanted[0], wanted[1])
