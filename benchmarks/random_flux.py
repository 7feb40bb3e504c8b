"""A whole FLUX.1-dev with random weights, made on the device: transformer, both encoders, autoencoder.

Its tokenizers are the small base's: other ids, as many of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from benchmarks.flux_training import GEOMETRY, SMALL, random_transformer
from engine.base_folder import BaseFolder, BaseSettings
from engine.demo_base.vocabulary import make_clip_tokenizer, make_t5_tokenizer
from engine.models import Base
from engine.sigma_shift import SigmaShift
from engine.tiers import Tier

Module = TypeVar("Module", bound=torch.nn.Module)


@dataclass(frozen=True)
class Sizes:
    """Of all parts, as their configs have them."""

    transformer: dict[str, Any]
    t5: dict[str, Any]
    clip: dict[str, Any]
    vae: dict[str, Any]
    text_tokens: int
    settings: BaseSettings


FLUX = Sizes(
    GEOMETRY,
    {"d_model": 4096, "d_ff": 10_240, "d_kv": 64, "num_layers": 24, "num_heads": 64, "vocab_size": 32_128},
    {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
     "vocab_size": 49_408},
    {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "norm_num_groups": 32},
    512,
    BaseSettings(),
)  # fmt: skip
TINY = Sizes(
    SMALL,
    {"d_model": 32, "d_ff": 64, "d_kv": 16, "num_layers": 2, "num_heads": 2, "vocab_size": 512},
    {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
     "vocab_size": 2048},
    {"block_out_channels": (16, 16, 16, 16), "layers_per_block": 1, "norm_num_groups": 4},
    32,
    BaseSettings(resolution_px=64, picture_px=512, num_inference_steps=4),
)  # fmt: skip


def random_flux(sizes: Sizes, device: torch.device, tier: Tier) -> Base:
    """Everything on the device, frozen, in bfloat16; on a CPU, which only imitates that, in float32. The
    encoders are drawn from torch's global generator."""
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    clip_tokenizer, t5_tokenizer = make_clip_tokenizer(), make_t5_tokenizer(sizes.text_tokens)
    clip_config = CLIPTextConfig(
        **sizes.clip,
        projection_dim=sizes.clip["hidden_size"],
        bos_token_id=clip_tokenizer.bos_token_id,
        eos_token_id=clip_tokenizer.eos_token_id,
        pad_token_id=clip_tokenizer.pad_token_id,
    )
    t5_config = T5Config(**sizes.t5, feed_forward_proj="gated-gelu", dropout_rate=0.0)
    shift = SigmaShift(_class_name="FlowMatchEulerDiscreteScheduler", use_dynamic_shifting=True, shift=3.0)
    return Base(
        BaseFolder(Path("random"), "random", sizes.settings, shift),
        random_transformer(sizes.transformer, device, home=device).to(dtype),
        _made(lambda: _autoencoder(sizes.vae), device, dtype),
        _made(lambda: CLIPTextModel(clip_config), device, dtype),
        clip_tokenizer,
        _made(lambda: T5EncoderModel(t5_config), device, dtype),
        t5_tokenizer,
        device,
        dtype,
        tier,
    )


def _autoencoder(vae: dict[str, Any]) -> AutoencoderKL:
    return AutoencoderKL(
        **vae,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=16,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def _made(make: Callable[[], Module], device: torch.device, dtype: torch.dtype) -> Module:
    """Made on the device and in its type: the host need not hold it."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            made = make()
    finally:
        torch.set_default_dtype(before)
    return made.requires_grad_(False).eval()
