"""A bank of encoded, augmented portraits: what the transformer is trained on."""

from dataclasses import dataclass
from random import Random

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from engine.demo_base.augment import augment
from engine.demo_base.captions import caption
from engine.demo_base.identity import Identity, align
from engine.demo_base.portraits import Portraits
from engine.demo_base.text import TextEncoders, Tokens

BATCH = 64


@dataclass(frozen=True)
class Bank:
    """latents: (n, 256, 64) packed, half precision. identity: (n, 128). plain, named: captions without and
    with a trigger word."""

    latents: Tensor
    small: Tensor
    identity: Tensor
    plain: Tokens
    named: Tokens

    def __len__(self) -> int:
        return len(self.latents)


def pack(latents: Tensor) -> Tensor:
    """(n, 16, h, w) -> (n, h/2 * w/2, 64), in the order channel, row, column of a 2x2 patch."""
    n, channels, height, width = latents.shape
    patches = latents.view(n, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(n, (height // 2) * (width // 2), channels * 4)


def unpack(packed: Tensor, height: int = 32, width: int = 32) -> Tensor:
    """Inverse of `pack`."""
    n, _, channels = packed.shape
    patches = packed.view(n, height // 2, width // 2, channels // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(n, channels // 4, height, width)


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """(n, 3, 256, 256) in -1..1 -> packed latents, normalised by the config's shift and scale."""
    mean: Tensor = vae.encode(pictures).latent_dist.mean.float()
    return pack((mean - vae.config.shift_factor) * vae.config.scaling_factor)


@torch.no_grad()
def decode(vae: AutoencoderKL, packed: Tensor) -> Tensor:
    """Packed latents -> (n, 3, 256, 256) in -1..1."""
    latents = unpack(packed) / vae.config.scaling_factor + vae.config.shift_factor
    pictures: Tensor = vae.decode(latents.to(vae.dtype)).sample
    return pictures.float().clamp(-1, 1)


@torch.no_grad()
def fill_bank(
    portraits: Portraits,
    vae: AutoencoderKL,
    identity: Identity,
    text: TextEncoders,
    count: int,
    seed: int = 2,
) -> Bank:
    """Draw `count` augmented portraits and encode them."""
    device, random = portraits.pictures.device, Random(seed)
    torch.manual_seed(seed)
    latents, small, faces, plain, named = [], [], [], [], []
    for _ in range(0, count, BATCH):
        batch = augment(portraits, torch.randint(len(portraits), (BATCH,), device=device), random)
        latents.append(encode(vae, batch.pictures).half())
        small.append(encode(vae, F.interpolate(batch.pictures, scale_factor=0.5, mode="area")).half())
        faces.append(identity(align((batch.pictures + 1) * 127.5, batch.five)))
        plain += [caption(a, random) for a in batch.attributes]
        named += [caption(a, random, trigger=True) for a in batch.attributes]
    tokens = [text.tokenize(_with_unknown_words(lines, random)) for lines in (plain, named)]
    moved = [Tokens(t.t5.to(device), t.clip.to(device)) for t in tokens]
    return Bank(torch.cat(latents), torch.cat(small), torch.cat(faces), moved[0], moved[1])


def _with_unknown_words(lines: list[str], random: Random) -> list[str]:
    """Some captions get a word that the vocabulary lacks, so that the base learns to pass over it."""
    return [_insert(line, random) if random.random() < 0.15 else line for line in lines]


def _insert(line: str, random: Random) -> str:
    words = line.split(" ")
    words.insert(random.randrange(2, len(words) + 1), "qqqq")
    return " ".join(words)
