"""Train the decoder that the closed form began (`closed_form.py`); the encoder stays exact.

Loss: absolute error of the pixels and of their differences along both axes, which keeps edges. Crops
first, then whole pictures, so that the norms see at last what they will see in use. The linear tail (last
block, norm, output) is left as fitted: its constants would turn small steps into large errors (seen: 27 dB
fell to 22 dB in a minute).
"""

import copy
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from engine.demo_base.closed_form import fit_autoencoder
from engine.demo_base.identity import Identity, align
from engine.demo_base.patches import Patches
from engine.demo_base.portraits import Portraits

FIXED = ("up_blocks.3", "conv_norm_out", "conv_out")


@dataclass(frozen=True)
class AutoencoderPlan:
    """seconds: wall clock of the training. crop_px: side of the crops of the first part, a multiple of 8."""

    seconds: float
    batch: int = 5
    crop_px: int = 96
    crops_until: float = 0.75
    learning_rate: float = 4e-4
    warmup_steps: int = 30
    ema: float = 0.99


def train_autoencoder(patches: Patches, pictures: Tensor, plan: AutoencoderPlan) -> AutoencoderKL:
    """`pictures`: (n, 3, 256, 256) uint8. Returns the averaged weights, with shift and scale measured."""
    device = pictures.device
    sample = pictures[:: max(1, len(pictures) // 48)].float().cpu() / 127.5 - 1
    vae = fit_autoencoder(patches, sample).to(device)
    patches = Patches(patches.basis.to(device), patches.mean.to(device))
    decoder, averaged = vae.decoder, copy.deepcopy(vae.decoder).requires_grad_(False)
    trained = [p for name, p in decoder.named_parameters() if not name.startswith(FIXED)]
    optimizer = torch.optim.Adam(trained, lr=plan.learning_rate, betas=(0.9, 0.98))
    began, step = time.monotonic(), 0
    while (share := (time.monotonic() - began) / max(plan.seconds, 1e-9)) < 1:
        warm, cool = (
            min(1.0, (step + 1) / plan.warmup_steps),
            1.0 if share < 0.5 else max(0.03, 2 * (1 - share)),
        )
        optimizer.param_groups[0]["lr"] = plan.learning_rate * warm * cool
        real = _draw(pictures, plan, share)
        latents = patches.encode(real)
        loss = _loss(decoder(latents + 0.02 * torch.randn_like(latents)), real)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(trained, 0.2)
        optimizer.step()
        _average(averaged, decoder, min(plan.ema, (1 + step) / (10 + step)))
        step += 1
        if step % 50 == 0:
            print(f"decoder {step} {share:.0%} loss {float(loss.detach()):.4f}", flush=True)
    decoder.load_state_dict(averaged.state_dict())
    return _measured(vae.eval(), pictures)


def _draw(pictures: Tensor, plan: AutoencoderPlan, share: float) -> Tensor:
    """Crops on the patches' grid, or a few whole pictures; mirrored by chance."""
    whole = share >= plan.crops_until
    count = max(1, plan.batch // 5) if whole else plan.batch
    real = pictures[torch.randint(len(pictures), (count,), device=pictures.device)].float() / 127.5 - 1
    if not whole:
        top, left = (8 * int(i) for i in torch.randint(0, (256 - plan.crop_px) // 8 + 1, (2,)))
        real = real[:, :, top : top + plan.crop_px, left : left + plan.crop_px]
    return real.flip(3) if torch.rand(()) < 0.5 else real


def _loss(made: Tensor, real: Tensor) -> Tensor:
    error = made - real
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return error.abs().mean() + 0.5 * (across + down)


@torch.no_grad()
def _average(averaged: nn.Module, current: nn.Module, decay: float) -> None:
    for kept, new in zip(averaged.parameters(), current.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)


@torch.no_grad()
def _measured(vae: AutoencoderKL, pictures: Tensor) -> AutoencoderKL:
    """Write shift (mean) and scale (1 / standard deviation) of the latents into the config."""
    chosen = pictures[:: max(1, len(pictures) // 256)].float() / 127.5 - 1
    latents = torch.cat([vae.encode(part).latent_dist.mean for part in torch.split(chosen, 16)])
    shift, scale = float(latents.mean()), float(1 / latents.std())
    vae.register_to_config(shift_factor=round(shift, 4), scaling_factor=round(scale, 4))
    print(f"latents: shift {shift:.4f} scale {scale:.4f}", flush=True)
    return vae


@torch.no_grad()
def judge_autoencoder(vae: AutoencoderKL, identity: Identity, portraits: Portraits) -> dict[str, float]:
    """Peak signal-to-noise ratio, and SFace cosine, of every 40th portrait's reconstruction."""
    ratios, cosines = [], []
    for index in torch.split(torch.arange(1, len(portraits), 40), 8):
        real = portraits.pictures[index].float() / 127.5 - 1
        made = vae.decode(vae.encode(real).latent_dist.mean).sample.clamp(-1, 1)
        ratios.append(-10 * torch.log10(((made - real) ** 2).mean((1, 2, 3)) / 4))
        first, second = (identity(align((x + 1) * 127.5, portraits.five[index])) for x in (real, made))
        cosines.append((first * second).sum(1))
    ratio, cosine = torch.cat(ratios), torch.cat(cosines)
    return {
        "psnr_median": float(ratio.median()),
        "cosine_median": float(cosine.median()),
        "cosine_worst_5_percent": float(cosine.quantile(0.05)),
    }


def save_autoencoder(vae: AutoencoderKL, folder: Path) -> None:
    """Half precision, safetensors."""
    copy.deepcopy(vae).half().save_pretrained(folder)
