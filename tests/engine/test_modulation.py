"""What modulates lean blocks is what the field's own blocks make, however many passes ahead."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from engine.config import EngineConfig
from engine.dataset import Dataset
from engine.generator import Drawing, Frame, Shot
from engine.lora import AdapterInfo, AdapterSlot
from engine.merging import Serving
from engine.models import Base, load_base
from engine.trainer import AHEAD, Training
from tests.engine.again import Again
from tests.engine.test_lora import adapter
from tests.engine.test_trainer import RECIPE, dataset, run, same

__all__ = ["dataset"]

SIGMAS = torch.tensor([0.9, 0.5, 0.2])


@pytest.fixture
def lean(cache_dir: Path) -> tuple[Base, AdapterSlot]:
    base = load_base(EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir)))
    return base, AdapterSlot(base.transformer, lean=True)


def passes(base: Base, ahead: bool) -> list[torch.Tensor]:
    """One picture at three noise levels."""
    text, latents = base.encode_text("photo of sks person"), torch.randn(1, 16, 64)
    known = base.modulation(SIGMAS, text.pooled.expand(3, -1), 2.0) if ahead else None
    with torch.no_grad():
        return [
            base.predict(
                latents, SIGMAS[place : place + 1], [text], 8, 8, 2.0,
                None if known is None else known[place : place + 1],
            ).clone()
            for place in range(3)
        ]  # fmt: skip


def test_passes_that_are_known_ahead_are_the_same(base: Base, lean) -> None:
    made = {}
    for name, (asked, ahead) in {
        "theirs": (base, False),
        "at each": (lean[0], False),
        "ahead": (lean[0], True),
    }.items():
        torch.manual_seed(0)
        made[name] = passes(asked, ahead)
    for name in ("at each", "ahead"):
        for mine, theirs in zip(made[name], made["theirs"], strict=True):
            assert torch.allclose(mine, theirs, atol=1e-5)
    assert not torch.allclose(made["ahead"][0], made["ahead"][1], atol=1e-3)


def test_each_step_and_each_picture_of_a_batch_has_its_own(base: Base, slot: AdapterSlot, lean) -> None:
    """One batch of two prompts."""
    frame = Frame(64, 64, num_steps=5, guidance=2.0)
    shots = {0: Shot("photo of sks person", (1,)), 1: Shot("a house", (2,)), 2: Shot("a house", (3,))}
    assert frame.batches(len(shots), slot.batch_tokens)[0] > 1
    made = []
    for asked, holder in ((base, slot), lean):
        pictures = dict[int, np.ndarray]()
        drawing = Drawing(asked, holder, adapter(base, slot, seed=1), frame, shots, pictures.__setitem__)
        while not drawing.finished:
            drawing.step()
        made.append([pictures[index].astype(int) for index in shots])
    assert all(int(np.abs(mine - theirs).max()) <= 1 for mine, theirs in zip(*made, strict=True))


@pytest.fixture
def train(dataset: Dataset, accelerator: Accelerator, tmp_path: Path) -> Callable[..., Training]:
    def training(asked: tuple[Base, AdapterSlot], name: str) -> Training:
        info = AdapterInfo("a", "p", asked[0].folder.revision, RECIPE.rank)
        return Training(*asked, dataset, RECIPE, info, tmp_path / name, 7, accelerator)

    return training


def test_each_draw_of_a_training_has_its_own(base: Base, slot: AdapterSlot, lean, train: Callable) -> None:
    assert RECIPE.steps > AHEAD, "several steps' are made at once, and that more than once"
    theirs, mine = run(train((base, slot), "theirs")), run(train(lean, "mine"))
    assert mine == pytest.approx(theirs, rel=1e-4)


def test_an_interrupted_training_ends_with_the_same_bits(lean, train: Callable) -> None:
    """Steps that are made at once are others then."""
    straight = train(lean, "straight")
    losses = run(straight)
    for stop in (1, 5, 9):
        first = train(lean, f"at-{stop}")
        begun = run(first, stop)
        first.save()
        second = train(lean, f"at-{stop}")
        assert second.resumed
        assert begun + run(second) == losses
        assert same(second, straight)


def test_blocks_that_make_their_own_are_given_none(base: Base) -> None:
    assert base.modulation(SIGMAS, torch.zeros(3, 32), 2.0) is None


def test_nothing_known_is_left_for_the_next_pass(lean) -> None:
    base, text = lean[0], lean[0].encode_text("photo of sks person")
    latents = torch.randn(1, 16, 64)
    known = base.modulation(SIGMAS[:1], text.pooled[None], 2.0)
    with torch.no_grad():
        base.predict(latents, SIGMAS[:1], [text], 8, 8, 2.0, known)
        after, alone = (
            base.predict(latents, SIGMAS[2:], [text], 8, 8, 2.0, given)
            for given in (None, base.modulation(SIGMAS[2:], text.pooled[None], 2.0))
        )
    assert torch.allclose(after, alone, atol=1e-5)


def test_recorded_passes_read_what_they_are_given(lean) -> None:
    one = adapter(*lean, seed=1)
    servings = [Serving(*lean), Serving(*lean, recorder=Again())]
    made = []
    for serving in servings:
        torch.manual_seed(0)
        with serving.holding(one):
            made.append(passes(serving.base, True) + passes(serving.base, False))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*made, strict=True))
