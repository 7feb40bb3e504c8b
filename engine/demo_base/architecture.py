"""FLUX.1 in any size: the parts of a diffusers `FluxPipeline` folder, made from a handful of numbers."""

from dataclasses import dataclass
from pathlib import Path

from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from engine.demo_base.vocabulary import CLIP_TOKENS, TEXT_TOKENS, make_clip_tokenizer, make_t5_tokenizer

LATENT_CHANNELS = 16
"""As FLUX.1: 16 channels at an eighth of the side, packed 2x2 into tokens of 64 numbers."""


@dataclass(frozen=True)
class Size:
    """The free dimensions. Width of the transformer = heads * sum(rope_axes).

    rope_axes: channels of one head for text position, row and column; each even.
    vae_channels: channels of the autoencoder's four levels, each a multiple of `vae_groups`.
    """

    heads: int
    rope_axes: tuple[int, int, int]
    double_blocks: int
    single_blocks: int
    text_width: int
    text_layers: int
    vae_channels: tuple[int, int, int, int]
    vae_layers: int = 1
    vae_groups: int = 16
    vae_attention: bool = True
    text_tokens: int = TEXT_TOKENS


DEMO = Size(
    heads=5,
    rope_axes=(8, 28, 28),
    double_blocks=1,
    single_blocks=7,
    text_width=128,
    text_layers=2,
    vae_channels=(16, 48, 64, 64),
    vae_groups=4,
    vae_attention=False,
)
"""The base that ships."""

TINY = Size(
    heads=2,
    rope_axes=(4, 6, 6),
    double_blocks=1,
    single_blocks=1,
    text_width=16,
    text_layers=1,
    vae_channels=(8, 8, 8, 8),
    vae_groups=4,
)
"""Random weights for tests."""


def make_transformer(size: Size) -> FluxTransformer2DModel:
    """The denoiser, with guidance embedding."""
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * LATENT_CHANNELS,
        num_layers=size.double_blocks,
        num_single_layers=size.single_blocks,
        attention_head_dim=sum(size.rope_axes),
        num_attention_heads=size.heads,
        joint_attention_dim=size.text_width,
        pooled_projection_dim=size.text_width,
        guidance_embeds=True,
        axes_dims_rope=size.rope_axes,
    )


def make_autoencoder(size: Size) -> AutoencoderKL:
    """An autoencoder of FLUX's latent shape; `autoencoder.py` measures shift and scale after training."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=size.vae_channels,
        layers_per_block=size.vae_layers,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=size.vae_groups,
        sample_size=256,
        scaling_factor=1.0,
        shift_factor=0.0,
        force_upcast=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=size.vae_attention,
    )


def make_clip_encoder(size: Size, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The encoder whose pooled output steers every block."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.text_width,
            intermediate_size=2 * size.text_width,
            projection_dim=size.text_width,
            num_hidden_layers=size.text_layers,
            num_attention_heads=max(1, size.text_width // 32),
            max_position_embeddings=CLIP_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def make_t5_encoder(size: Size, tokenizer: T5TokenizerFast) -> T5EncoderModel:
    """The encoder whose tokens take part in attention."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=size.text_width,
            d_kv=max(8, size.text_width // 4),
            d_ff=2 * size.text_width,
            num_layers=size.text_layers,
            num_heads=max(1, size.text_width // 32),
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
        )
    )


def make_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """FLUX.1-dev's own schedule: dynamic shift from .5 at 256 tokens to 1.15 at 4096."""
    return FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000,
        shift=3.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=256,
        max_image_seq_len=4096,
    )


def make_pipeline(size: Size) -> FluxPipeline:
    """A whole base with fresh weights, drawn from torch's global generator."""
    clip, t5 = make_clip_tokenizer(), make_t5_tokenizer(size.text_tokens)
    return FluxPipeline(
        scheduler=make_scheduler(),
        vae=make_autoencoder(size),
        text_encoder=make_clip_encoder(size, clip),
        tokenizer=clip,
        text_encoder_2=make_t5_encoder(size, t5),
        tokenizer_2=t5,
        transformer=make_transformer(size),
    )


def save_base(pipeline: FluxPipeline, folder: Path) -> None:
    """Write the diffusers folder, safetensors only."""
    pipeline.save_pretrained(folder, safe_serialization=True)
