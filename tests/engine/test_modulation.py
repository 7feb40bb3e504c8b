"""What modulates lean blocks is what the field's own blocks make, however many passes ahead."""

from pathlib import Path

import pytest
import torch

from engine.config import EngineConfig
from engine.lora import AdapterSlot
from engine.merging import Serving
from engine.models import Base, load_base
from tests.engine.again import Again
from tests.engine.test_lora import adapter

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
