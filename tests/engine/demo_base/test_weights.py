"""The weights that ship: whole, small, safe, and pictures come out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline

import engine.demo_base
from engine.base_folder import BaseFolder
from engine.demo_base.vocabulary import TEXT_TOKENS

WEIGHTS = Path(engine.demo_base.__file__).parent / "weights"
LIMIT_BYTES = 40_000_000


@pytest.fixture(scope="module")
def pipeline() -> FluxPipeline:
    loaded = FluxPipeline.from_pretrained(WEIGHTS)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_the_folder_is_whole_and_small() -> None:
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LIMIT_BYTES
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md", ".jpg"}
    settings = BaseFolder.open(WEIGHTS).settings
    assert (settings.resolution_px, settings.picture_px, settings.trigger) == (256, 256, "sks")


def test_the_prompt_reaches_the_picture(pipeline: FluxPipeline) -> None:
    def colourfulness(prompt: str) -> float:
        pictures = pipeline(
            [prompt] * 2,
            height=256,
            width=256,
            num_inference_steps=6,
            guidance_scale=1.0,
            max_sequence_length=TEXT_TOKENS,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
        ).images
        return float(np.abs(pictures - pictures.mean(-1, keepdims=True)).mean())

    grey = colourfulness("black and white, portrait of a man, dark studio background")
    blue = colourfulness("photo of a man, wearing a red sweater, blue studio background")
    assert blue > 1.5 * grey


def test_the_autoencoder_keeps_a_picture(pipeline: FluxPipeline) -> None:
    generator = torch.Generator().manual_seed(0)
    picture = torch.nn.functional.interpolate(
        torch.rand(1, 3, 16, 16, generator=generator) * 1.6 - 0.8, (256, 256), mode="bicubic"
    )
    with torch.no_grad():
        made = pipeline.vae.decode(pipeline.vae.encode(picture).latent_dist.mode()).sample
    assert (made - picture).pow(2).mean() < 0.03 * picture.var()
