"""What is recorded once and replayed gives the same training, bit for bit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.lora import AdapterInfo
from engine.trainer import Training
from tests.engine.again import Again
from tests.engine.test_trainer import EVERYTHING, RECIPE, dataset, everything, run, same, state

__all__ = ["dataset"]


@pytest.fixture
def make(base, slot, dataset, accelerator) -> Callable[..., Training]:
    def training(
        folder: Path, recorder: Again | None, recipe=RECIPE, seed: int = 7, data=dataset
    ) -> Training:
        info = AdapterInfo("a", "p", base.folder.revision, recipe.rank)
        return Training(base, slot, data, recipe, info, folder, seed, accelerator, recorder=recorder)

    return training


def test_a_recorded_training_is_the_launched_one(make: Callable, tmp_path: Path) -> None:
    launched, recorder = make(tmp_path / "1", None), Again()
    recorded = make(tmp_path / "2", recorder)
    assert run(launched) == run(recorded)
    assert same(launched, recorded)
    assert (recorder.recorded, recorder.replayed) == (1, RECIPE.steps - 1)


def test_each_shape_has_its_recording_and_a_step_may_have_several(
    make: Callable, base, dataset, tmp_path: Path
) -> None:
    recipe, data = replace(EVERYTHING, steps=30), everything(base, dataset)
    launched, recorder = make(tmp_path / "1", None, recipe, data=data), Again()
    recorded = make(tmp_path / "2", recorder, recipe, data=data)
    assert run(launched) == run(recorded)
    for training in (launched, recorded):
        training.keep_best(1.0)
    one, other = state(launched), state(recorded)
    assert all(torch.equal(one[name], other[name]) for name in one)
    # One or two of a step's two pictures may have one of two shapes.
    assert 3 <= recorder.recorded <= 4
    assert recorder.replayed > 20


def test_two_trainings_in_turn_replay_their_own(make: Callable, tmp_path: Path) -> None:
    alone = [make(tmp_path / f"alone-{seed}", None, seed=seed) for seed in (1, 2)]
    together = [make(tmp_path / f"together-{seed}", Again(), seed=seed) for seed in (1, 2)]
    for training in alone:
        run(training)
    while not together[0].finished:
        for training in together:
            training.step()
    assert same(alone[0], together[0])
    assert same(alone[1], together[1])


def test_one_that_goes_on_from_its_checkpoint_records_anew(make: Callable, tmp_path: Path) -> None:
    straight = make(tmp_path / "straight", None)
    losses = run(straight)
    first = make(tmp_path / "cut", Again())
    begun = run(first, 5)
    first.save()
    run(first, 2)
    recorder = Again()
    again = make(tmp_path / "cut", recorder)
    assert again.resumed
    assert begun + run(again) == losses
    assert same(straight, again)
    assert recorder.replayed == RECIPE.steps - 5 - 1


def test_without_room_it_goes_on_kernel_by_kernel(make: Callable, tmp_path: Path) -> None:
    launched, recorder = make(tmp_path / "1", None), Again(most=0)
    unrecorded = make(tmp_path / "2", recorder)
    assert run(launched) == run(unrecorded)
    assert (recorder.recorded, recorder.replayed) == (0, 0)
