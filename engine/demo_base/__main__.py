"""The whole recipe in one command; each stage goes on from what the folder already holds.

    python -m engine.demo_base DATA WORK [--decoder-seconds S] [--small-seconds S] [--full-seconds S]
        [--decay-from SHARE] [--guidance-seconds S] [--bank N] [--batch N] [--rate R] [--seed N]
        [--shipped BASE]

On several GPUs: torchrun --nproc-per-node=N -m engine.demo_base ...; then --bank and --batch are each GPU's.

DATA is what `prepare.py` wrote. WORK receives `patches.safetensors`, `vae/`, `denoiser-*.safetensors`,
sheets to look at, and `base/`, the folder that ships. A stage whose seconds are 0 is loaded from WORK.

On a CPU with few free cores: one thread (OMP_NUM_THREADS=1) and glibc told to keep its memory
(MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=20000000000) was five times as fast as two threads.
"""

import argparse
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import nn

from engine.demo_base import parallel
from engine.demo_base.architecture import DEMO
from engine.demo_base.autoencoder import (
    AutoencoderPlan,
    judge_autoencoder,
    save_autoencoder,
    train_autoencoder,
)
from engine.demo_base.checkpoints import load_folder, load_shards, save_folder, save_shards
from engine.demo_base.denoiser import Conditions, Denoiser, Phase, train_denoiser
from engine.demo_base.identity import Identity
from engine.demo_base.latents import decode, fill_bank
from engine.demo_base.patches import load_patches, measure_patches, save_patches
from engine.demo_base.portraits import Portraits, load_portraits
from engine.demo_base.sampling import sample
from engine.demo_base.sheet import save_sheet
from engine.demo_base.text import TextEncoders, Tokens

PROMPTS = [
    "professional headshot of a middle aged man, wearing a navy suit and tie, light grey studio background",
    "photo of a young woman, wearing a casual shirt, outdoor background, soft light, smiling",
    "photo of a woman, wearing a black blazer, office background, broad smile",
    "portrait of an older man, wearing a charcoal suit, american flag background, serious expression",
    "photo of a young man, wearing a white casual shirt, outdoor background",
    "headshot of a woman, wearing glasses, wearing a blue blazer, white studio background, smiling",
    "black and white, portrait of a man, dark studio background, dramatic light",
    "photo of sks person, wearing a navy suit, light grey studio background, soft light, smiling",
]


@torch.no_grad()
def preview(denoiser: nn.ModuleList, vae: AutoencoderKL, path: Path, guidance: float, rows: int = 2) -> None:
    """The same prompts with other noise in every row, none chosen."""
    text = denoiser[1]
    assert isinstance(text, TextEncoders)
    tokens = text.tokenize(PROMPTS * rows)
    states, pooled = text(Tokens(tokens.t5.to(vae.device), tokens.clip.to(vae.device)))
    save_sheet(decode(vae, sample(denoiser[0], states, pooled, seed=1, guidance=guidance)), path)


def autoencoder(portraits: Portraits, identity: Identity, work: Path, plan: AutoencoderPlan) -> AutoencoderKL:
    """Train and judge, or load."""
    if plan.seconds == 0:
        vae: AutoencoderKL = AutoencoderKL.from_pretrained(work / "vae").float().to(portraits.pictures.device)
        return vae.eval()
    if not (work / "patches.safetensors").exists():
        save_patches(
            measure_patches(portraits.pictures[::2].float().cpu() / 127.5 - 1), work / "patches.safetensors"
        )
    vae = train_autoencoder(load_patches(work / "patches.safetensors"), portraits.pictures, plan)
    save_autoencoder(vae, work / "vae")
    print("autoencoder", judge_autoencoder(vae, identity, portraits), flush=True)
    return vae


def run(
    data: Path,
    work: Path,
    autoencoder_plan: AutoencoderPlan,
    phases: list[Phase],
    count: int,
    seed: int,
    shipped: Path | None = None,
) -> None:
    """All stages."""
    device = parallel.start()
    torch.manual_seed(0)
    torch.backends.cuda.enable_cudnn_sdp(False)  # gives NaN in bfloat16 on an H200 (torch 2.11)
    work.mkdir(parents=True, exist_ok=True)
    portraits = load_portraits(data / "portraits.zip", device)
    identity = Identity(data / "faces.safetensors").to(device)
    print(f"{len(portraits)} portraits", flush=True)
    vae = autoencoder(portraits, identity, work, autoencoder_plan)
    model = begin(work, device, shipped)
    if any(phase.seconds for phase in phases):
        train(model, vae, portraits, identity, work, phases, count, seed)
    if parallel.rank() == 0:
        preview(model.averaged, vae, work / "samples.jpg", guidance=2.5 if phases[-1].seconds else 1.0)
        save_folder(model.averaged.cpu(), vae.cpu(), work / "base")
    parallel.stop()


def begin(work: Path, device: torch.device, shipped: Path | None) -> Denoiser:
    """From WORK's checkpoint, else from a shipped folder, else from nothing."""
    model = Denoiser(DEMO, device)
    if list(work.glob("denoiser-*.safetensors")):
        load_shards(model.averaged, work, "denoiser")
        model.restart()
    elif shipped is not None:
        load_folder(model.averaged, shipped)
        model.restart()
    return model


def train(
    model: Denoiser,
    vae: AutoencoderKL,
    portraits: Portraits,
    identity: Identity,
    work: Path,
    phases: list[Phase],
    count: int,
    seed: int,
) -> None:
    """Every phase, with a checkpoint after each. Each process sees pictures of its own."""
    began = time.monotonic()
    bank = fill_bank(portraits, vae, identity, model.text, count, seed + 1000 * parallel.rank())
    print(f"bank of {len(bank)} after {time.monotonic() - began:.0f} s", flush=True)
    for phase in phases:
        train_denoiser(model, bank, [phase], Conditions())
        if parallel.rank() == 0:
            save_shards(model.averaged, work, "denoiser")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--decoder-seconds", type=float, default=900)
    parser.add_argument("--small-seconds", type=float, default=600)
    parser.add_argument("--full-seconds", type=float, default=800)
    parser.add_argument("--guidance-seconds", type=float, default=0)
    parser.add_argument("--bank", type=int, default=5120, help="augmented portraits to encode")
    parser.add_argument("--rate", type=float, default=1e-3, help="AdamW's at 128 px, Muon's is twice this")
    parser.add_argument("--decay-from", type=float, default=0.35, help="share of the time at 256 px")
    parser.add_argument("--shipped", type=Path, help="a base folder to go on from where WORK holds nothing")
    parser.add_argument("--seed", type=int, default=2, help="of the augmented portraits")
    parser.add_argument(
        "--batch", type=int, default=64, help="pictures a step at 128 px; 3/8 of it at 256 px"
    )
    given = parser.parse_args()
    full = max(1, 3 * given.batch // 8)
    rate = given.rate
    phases = [
        Phase("small", given.small_seconds, given.batch, small=True, rate=rate),
        Phase("full", given.full_seconds, full, rate=0.7 * rate, decay_from=given.decay_from),
        Phase("guidance", given.guidance_seconds, full, guided=True, rate=0.2 * rate, decay_from=0.3),
    ]
    run(
        given.data,
        given.work,
        AutoencoderPlan(given.decoder_seconds),
        phases,
        given.bank,
        given.seed,
        given.shipped,
    )


if __name__ == "__main__":
    main()
