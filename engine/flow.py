"""Flow matching as FLUX.1 does it, as free functions over tensors. Knows no model, no file and no policy.

Notation: x0 = clean packed latents, noise ~ N(0, 1), sigma in 0..1 (1 = pure noise),
x_sigma = (1 - sigma) x0 + sigma noise, and the model predicts the velocity noise - x0.
Formulas: Esser et al., arXiv 2403.03206 (logit-normal sigmas, resolution shift); black-forest-labs/flux,
`src/flux/sampling.py` (packing, positions, schedule).
"""

import math

import torch
from torch import Tensor

PATCH = 2


def pack(latents: Tensor) -> Tensor:
    """(batch, channels, rows, columns) -> (batch, rows/2 * columns/2, channels * 4).

    One token holds a 2x2 patch in the order channel, row, column.
    """
    batch, channels, rows, columns = latents.shape
    patches = latents.reshape(batch, channels, rows // PATCH, PATCH, columns // PATCH, PATCH)
    tokens = patches.permute(0, 2, 4, 1, 3, 5)
    return tokens.reshape(batch, (rows // PATCH) * (columns // PATCH), channels * PATCH * PATCH)


def unpack(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Inverse of `pack`; `rows` and `columns` are the latents' (an eighth of the picture's sides)."""
    batch, _, width = tokens.shape
    channels = width // (PATCH * PATCH)
    patches = tokens.reshape(batch, rows // PATCH, columns // PATCH, channels, PATCH, PATCH)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, rows, columns)


def image_ids(rows: int, columns: int) -> Tensor:
    """Positions of the packed tokens of latents with `rows` x `columns`: (tokens, 3) of 0, row, column."""
    ids = torch.zeros(rows // PATCH, columns // PATCH, 3)
    ids[..., 1] = torch.arange(rows // PATCH)[:, None]
    ids[..., 2] = torch.arange(columns // PATCH)[None, :]
    return ids.reshape(-1, 3)


def text_ids(length: int) -> Tensor:
    """Positions of the text tokens: zeros, (length, 3)."""
    return torch.zeros(length, 3)


def shift_sigmas(sigmas: Tensor, mu: float) -> Tensor:
    """e^mu / (e^mu + 1/sigma - 1), written so that sigma = 0 stays 0. mu: see `engine.sigma_shift`."""
    factor = math.exp(mu)
    return factor * sigmas / (1 + (factor - 1) * sigmas)


def training_sigmas(count: int, mu: float, generator: torch.Generator) -> Tensor:
    """(count,) float32 on the CPU: logit-normal(0, 1), then shifted."""
    return shift_sigmas(torch.sigmoid(torch.randn(count, generator=generator)), mu)


def inference_sigmas(num_steps: int, mu: float) -> Tensor:
    """(num_steps + 1,) float32 from 1 down to 0: evenly spaced, then shifted."""
    even = torch.linspace(1.0, 1.0 / num_steps, num_steps, dtype=torch.float64)
    return torch.cat([shift_sigmas(even, mu), torch.zeros(1, dtype=torch.float64)]).float()


def noised(clean: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """x_sigma of a batch; `sigmas` is (batch,)."""
    share = sigmas.reshape(-1, *[1] * (clean.ndim - 1))
    return (1 - share) * clean + share * noise


def velocity(clean: Tensor, noise: Tensor) -> Tensor:
    """What the model shall predict."""
    return noise - clean


def velocity_loss(predicted: Tensor, clean: Tensor, noise: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean squared error of the velocity, a scalar in float32 whatever the model computes in.

    weights: of the 2x2 positions in each token, (batch, tokens, 4), for all channels alike.
    """
    error = (predicted.float() - velocity(clean, noise).float()) ** 2
    if weights is not None:
        channels = error.shape[-1] // PATCH**2
        error = error.view(*error.shape[:-1], channels, PATCH**2) * weights.unsqueeze(-2)
    return error.mean()


def euler_step(latents: Tensor, predicted: Tensor, sigma: float, next_sigma: float) -> Tensor:
    """One step of the ordinary differential equation from `sigma` to `next_sigma`, in float32."""
    return latents + (next_sigma - sigma) * predicted.float()
