"""Packing, the patches' code, and the autoencoder made from it."""

import torch
from diffusers import FluxPipeline

from engine.demo_base.closed_form import fit_autoencoder
from engine.demo_base.latents import pack, unpack
from engine.demo_base.patches import Patches, measure_patches


def _pictures(count: int = 6) -> torch.Tensor:
    """Smooth random colour fields with edges: what patches of photographs look like, roughly."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(count, 3, 12, 12, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (256, 256), mode="bicubic")
    return (0.6 * smooth + 0.3 * (smooth > 0.5)).clamp(-1, 1)


def _patches() -> Patches:
    return measure_patches(_pictures())


def test_packing_is_the_pipelines_own() -> None:
    latents = torch.randn(2, 16, 32, 32)
    assert torch.equal(pack(latents), FluxPipeline._pack_latents(latents, 2, 16, 32, 32))
    assert torch.equal(unpack(pack(latents)), latents)


def test_sixteen_components_keep_most_of_a_picture() -> None:
    patches, pictures = _patches(), _pictures()
    error = (patches.decode(patches.encode(pictures)) - pictures).pow(2).mean()
    assert error < 0.02 * pictures.var()


def test_the_closed_form_encoder_is_the_linear_map() -> None:
    torch.manual_seed(0)
    patches, pictures = _patches(), _pictures()
    vae = fit_autoencoder(patches, pictures)
    with torch.no_grad():
        latents = vae.encode(pictures).latent_dist.mean
        made = vae.decode(latents).sample
    assert torch.allclose(latents, patches.encode(pictures), atol=0.02)
    assert (made - pictures).pow(2).mean() < 0.1 * pictures.var()
