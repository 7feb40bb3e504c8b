"""Euler sampling with FLUX's schedule, for the recipe's own checks; the service samples with its own code."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from engine.demo_base.denoiser import velocity

SHIFT = math.exp(0.5)  # FLUX's dynamic shift of 256 tokens


def schedule(steps: int, device: torch.device) -> Tensor:
    """Sigmas from 1 to 0, (steps + 1,)."""
    even = torch.linspace(1, 1 / steps, steps, device=device)
    return torch.cat([SHIFT * even / (1 + (SHIFT - 1) * even), torch.zeros(1, device=device)])


@torch.no_grad()
def sample(
    transformer: nn.Module, states: Tensor, pooled: Tensor, seed: int, steps: int = 24, guidance: float = 2.5
) -> Tensor:
    """Packed latents (n, 256, 64) for n conditions; the noise depends on the seed and the row only."""
    n, device = len(pooled), pooled.device
    noise = [torch.randn(256, 64, generator=torch.Generator().manual_seed(seed + row)) for row in range(n)]
    x = torch.stack(noise).to(device)
    sigmas = schedule(steps, device)
    scale = torch.full((n,), guidance, device=device)
    for now, after in pairwise(sigmas):
        v = velocity(transformer, x, now.expand(n), scale, states, pooled)
        x = x + (after - now) * v
    return x
