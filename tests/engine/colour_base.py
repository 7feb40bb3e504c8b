"""A random base that can show a colour: its autoencoder is taught to tell red from blue, in seconds.

The transformer stays random. What an adapter learns from photos of one colour can then be seen in the
pictures. Two colours, at the size that is drawn: the autoencoder's group norms take flat colours away, so
that of eight colours it learned others on every processor, and on some took red for blue.
"""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from engine.demo_base.tiny import make_tiny_base

RED, BLUE = (220, 40, 40), (40, 40, 220)
SIDE_PX = 32
TEACHING_STEPS = 120


def make_colour_base(folder: Path, training_steps: int = 150) -> None:
    """Write the base; `training_steps` is how long its adapters are trained."""
    make_tiny_base(folder)
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    _teach_colours(vae)
    vae.save_pretrained(folder / "vae")
    settings = {
        "resolution_px": SIDE_PX,
        "picture_px": SIDE_PX,
        "num_inference_steps": 8,
        "guidance": 1.0,
        "trigger": "sks",
        "lora": {
            "rank": 4,
            "learning_rate": 1e-2,
            "steps": training_steps,
            "batch_size": 4,
            "warmup_steps": 5,
        },
    }
    (folder / "likeness.json").write_text(json.dumps(settings))


def _teach_colours(vae: AutoencoderKL) -> None:
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=2e-3)
    colours = (torch.tensor([RED, BLUE] * 2) / 127.5 - 1)[:, :, None, None]
    for _ in range(TEACHING_STEPS):
        pictures = colours + 0.1 * torch.randn(4, 3, SIDE_PX, SIDE_PX, generator=generator)
        latents = vae.encode(pictures).latent_dist.mode()
        noisy = latents + torch.randn(latents.shape, generator=generator)
        # What both have in common tells nothing, and an adapter would have to learn it first.
        common = latents[0::2] + latents[1::2]
        loss = ((vae.decode(noisy).sample - colours) ** 2).mean() + (common**2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        latents = vae.encode(colours.expand(-1, -1, SIDE_PX, SIDE_PX)).latent_dist.mode()
    vae.register_to_config(scaling_factor=1.0 / float(latents.std()))
