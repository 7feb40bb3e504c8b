"""A random base that can show a colour: its autoencoder is taught flat colours, in seconds.

The transformer stays random. What an adapter learns from photos of one colour can then be seen in the
pictures.
"""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from engine.demo_base.tiny import make_tiny_base

SIDE_PX = 32
TEACHING_STEPS = 160
TEACHING_PX = 16


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
    optimizer = torch.optim.AdamW(vae.parameters(), lr=5e-3)
    for _ in range(TEACHING_STEPS):
        colours = torch.rand(8, 3, 1, 1, generator=generator).round() * 1.6 - 0.8
        pictures = colours + 0.1 * torch.randn(8, 3, TEACHING_PX, TEACHING_PX, generator=generator)
        latents = vae.encode(pictures).latent_dist.mode()
        noisy = latents + 0.1 * torch.randn(latents.shape, generator=generator)
        loss = ((vae.decode(noisy).sample - colours) ** 2).mean() + 0.01 * (latents**2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        colours = torch.rand(64, 3, 1, 1, generator=generator).round() * 1.6 - 0.8
        latents = vae.encode(colours.expand(-1, -1, TEACHING_PX, TEACHING_PX))
        vae.register_to_config(scaling_factor=1.0 / float(latents.latent_dist.mode().std()))
