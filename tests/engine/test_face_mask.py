"""Where a training looks."""

import pytest
import torch

from engine import flow
from engine.crops import Crop, Framing
from engine.face_mask import face_weights
from tests.engine.facts import facts

# The photo of `facts`: 960 x 1280, the face's box from (300, 400) to (600, 800).
CROP = Crop(Framing.HEAD_AND_SHOULDERS, 50.0, 250.0, 800.0, 800.0, 256, 256)


def plane(weights: torch.Tensor) -> torch.Tensor:
    """(32, 32) of packed (256, 4)."""
    return weights.view(16, 16, 2, 2).permute(0, 2, 1, 3).reshape(32, 32)


def test_the_face_counts_fully_and_the_rest_at_the_floor() -> None:
    weights = plane(face_weights(facts(0, 1), CROP, 0.2))
    assert float(weights.mean()) == pytest.approx(1.0, abs=1e-5)
    middle = CROP.place((450.0, 600.0))
    face = weights[round(middle[1] / 8), round(middle[0] / 8)]
    assert float(weights.max()) == pytest.approx(float(face))
    assert float(weights[-1, 0] / face) == pytest.approx(0.2)
    assert float(weights[0, -1] / face) == pytest.approx(0.2)


def test_it_turns_with_the_face() -> None:
    level = plane(face_weights(facts(0, 1), CROP, 0.0))
    turned = ((400.0, 480.0), (500.0, 580.0), (440.0, 610.0), (360.0, 640.0), (430.0, 710.0))
    tilted = plane(face_weights(facts(0, 1, landmarks=turned), CROP, 0.0))
    assert float((level - level.flip(1)).abs().max()) < float((tilted - tilted.flip(1)).abs().max())


@pytest.mark.parametrize(("known", "floor"), [(False, 0.2), (True, 1.0)])
def test_without_a_face_or_a_floor_all_count_alike(known: bool, floor: float) -> None:
    weights = face_weights(facts(0, 1) if known else None, CROP, floor)
    assert torch.equal(weights, torch.ones(256, 4))


def test_a_weighted_loss_is_the_weighted_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, clean, noise = (torch.randn(2, 16, 64, generator=generator) for _ in range(3))
    weights = torch.rand(2, 16, 4, generator=generator)
    by_hand = 0.0
    for channel in range(16):
        for place in range(4):
            column = 4 * channel + place
            error = (predicted - (noise - clean))[..., column] ** 2 * weights[..., place]
            by_hand += float(error.sum())
    assert float(flow.velocity_loss(predicted, clean, noise, weights)) == pytest.approx(
        by_hand / predicted.numel(), rel=1e-5
    )
    ones = flow.velocity_loss(predicted, clean, noise, torch.ones(2, 16, 4))
    torch.testing.assert_close(ones, flow.velocity_loss(predicted, clean, noise))
