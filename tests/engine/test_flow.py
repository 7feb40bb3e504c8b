"""The flow's formulas against independent ones: loops, published numbers, and diffusers' own pipeline."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline

from engine import flow


def test_a_token_is_a_patch_in_the_order_channel_row_column() -> None:
    latents = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).reshape(2, 3, 4, 6)
    tokens = flow.pack(latents)
    assert tokens.shape == (2, 6, 12)
    for row in range(2):
        for column in range(3):
            expected = [
                latents[1, channel, 2 * row + y, 2 * column + x]
                for channel in range(3)
                for y in range(2)
                for x in range(2)
            ]
            assert tokens[1, row * 3 + column].tolist() == [float(value) for value in expected]


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (8, 8), (8, 12), (14, 6)])
def test_packing_agrees_with_diffusers_and_comes_back(rows: int, columns: int) -> None:
    latents = torch.randn(3, 16, rows, columns)
    tokens = flow.pack(latents)
    assert torch.equal(tokens, FluxPipeline._pack_latents(latents, 3, 16, rows, columns))
    assert torch.equal(flow.unpack(tokens, rows, columns), latents)
    assert torch.equal(
        flow.unpack(tokens, rows, columns), FluxPipeline._unpack_latents(tokens, rows * 8, columns * 8, 8)
    )


def test_positions_are_row_and_column_and_agree_with_diffusers() -> None:
    ids = flow.image_ids(4, 6)
    assert ids.tolist() == [[0, row, column] for row in range(2) for column in range(3)]
    assert torch.equal(
        ids, FluxPipeline._prepare_latent_image_ids(1, 2, 3, torch.device("cpu"), torch.float32)
    )
    assert flow.text_ids(5).tolist() == [[0, 0, 0]] * 5


def test_the_shift_is_the_papers() -> None:
    sigmas = torch.linspace(0.01, 1, 50, dtype=torch.float64)
    expected = [math.exp(0.8) / (math.exp(0.8) + (1 / s - 1)) for s in sigmas.tolist()]
    np.testing.assert_allclose(flow.shift_sigmas(sigmas, 0.8).numpy(), expected, rtol=1e-12)
    assert flow.shift_sigmas(torch.tensor([0.0, 1.0]), 0.8).tolist() == [0.0, 1.0]


def test_training_sigmas_are_logit_normal_and_shifted() -> None:
    mu = 0.63  # FLUX.1-dev's at 512 px
    sigmas = flow.training_sigmas(40_000, mu, torch.Generator().manual_seed(5)).double()
    unshifted = sigmas / (math.exp(mu) - (math.exp(mu) - 1) * sigmas)
    logits = torch.log(unshifted / (1 - unshifted))
    assert float(logits.mean()) == pytest.approx(0, abs=0.02)
    assert float(logits.std()) == pytest.approx(1, abs=0.02)
    again = flow.training_sigmas(40_000, mu, torch.Generator().manual_seed(5))
    assert torch.equal(again.double(), sigmas)


def test_noising_and_target_are_rectified_flow() -> None:
    clean, noise = torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    sigmas = torch.tensor([0.25, 1.0])
    mixed = flow.noised(clean, noise, sigmas)
    assert torch.allclose(mixed[0], 0.75 * clean[0] + 0.25 * noise[0])
    assert torch.equal(mixed[1], noise[1])
    scheduler_way = clean + sigmas[:, None, None] * flow.velocity(clean, noise)
    assert torch.allclose(mixed, scheduler_way, atol=1e-6)


def test_the_true_velocity_leads_back_to_the_clean_latents() -> None:
    clean, noise = torch.randn(1, 7, 8), torch.randn(1, 7, 8)
    sigmas = flow.inference_sigmas(6, 0.6).tolist()
    latents = noise
    for sigma, following in pairwise(sigmas):
        latents = flow.euler_step(latents, flow.velocity(clean, noise), sigma, following)
    assert torch.allclose(latents, clean, atol=1e-5)


def test_the_loss_is_computed_in_float32() -> None:
    clean, noise = torch.zeros(1, 2, 2), torch.full((1, 2, 2), 1.0)
    predicted = torch.full((1, 2, 2), 0.5, dtype=torch.bfloat16)
    loss = flow.velocity_loss(predicted, clean, noise)
    assert loss.dtype == torch.float32
    assert float(loss) == 0.25
