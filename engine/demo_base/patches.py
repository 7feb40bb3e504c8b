"""The latents: principal components of 8x8 patches, sixteen numbers for 192.

Over portraits the sixteen strongest components of RGB patches keep 30.8 dB and an SFace cosine of .98
between a picture and its reconstruction, in closed form; a learned decoder then removes the seams between
patches. The components are scaled by `deviation ** -WHITENING`, between the raw spectrum (faint detail
drowns in noise until the last steps) and white (noise-like detail takes most of the loss).
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

PATCH = 8
CHANNELS = 16
WHITENING = 0.6


@dataclass(frozen=True)
class Patches:
    """basis: (16, 192), columns by channel, row, column; mean: (192,). latent = basis @ (patch - mean)."""

    basis: Tensor
    mean: Tensor

    def encode(self, pictures: Tensor) -> Tensor:
        """(n, 3, h, w) in -1..1 -> (n, 16, h/8, w/8)."""
        kernel = self.basis.view(CHANNELS, 3, PATCH, PATCH)
        bias = -self.basis @ self.mean
        return torch.nn.functional.conv2d(pictures, kernel, bias, stride=PATCH)

    def decode(self, latents: Tensor) -> Tensor:
        """The linear reconstruction, seams and all."""
        back = torch.linalg.pinv(self.basis)
        n, _, height, width = latents.shape
        flat = torch.einsum("pk,nkhw->nphw", back, latents) + self.mean[None, :, None, None]
        blocks = flat.view(n, 3, PATCH, PATCH, height, width).permute(0, 1, 4, 2, 5, 3)
        return blocks.reshape(n, 3, height * PATCH, width * PATCH)


def measure_patches(pictures: Tensor) -> Patches:
    """Principal components of (n, 3, h, w) in -1..1."""
    cut = pictures.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)
    rows = cut.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3 * PATCH * PATCH)
    mean = rows.mean(0)
    values, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    strongest, deviation = vectors.flip(1)[:, :CHANNELS].T, values.flip(0)[:CHANNELS].sqrt()
    return Patches((strongest * deviation[:, None] ** -WHITENING).contiguous(), mean)


def save_patches(patches: Patches, path: Path) -> None:
    """Safetensors."""
    save_file({"basis": patches.basis.contiguous(), "mean": patches.mean}, path)


def load_patches(path: Path) -> Patches:
    """Inverse of `save_patches`."""
    return Patches(**load_file(path))
