"""Weights in files small enough to carry about, and the finished base folder."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FluxPipeline
from safetensors.torch import load_file, save_file
from torch import nn

from engine.demo_base.architecture import make_scheduler
from engine.demo_base.entrance import face_prior
from engine.demo_base.text import TextEncoders

SHARD_BYTES = 12 * 2**20
FROM_IDENTITY = Path(__file__).parent / "from_identity.safetensors"
SETTINGS = {
    "resolution_px": 256,
    "picture_px": 256,
    "num_inference_steps": 24,
    "guidance": 2.5,
    "cpu_precision": "bfloat16",
    "trigger": "sks",
    "class_noun": "person",
    "caption": "photo of {subject}",
    "lora": {"rank": 16, "learning_rate": 4e-3, "steps": 240, "batch_size": 2, "warmup_steps": 10},
}
"""What the service should do with this base, as measured (`LOG.md`)."""


def save_shards(modules: nn.Module, folder: Path, name: str) -> None:
    """Half-precision shards `name-0.safetensors`, ... of at most 12 MiB."""
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[dict[str, torch.Tensor]] = [{}]
    filled = 0
    for key, value in modules.state_dict().items():
        if key.endswith("embed_tokens.weight") and ".t5." in key:
            continue  # tied to `shared`
        half = value.detach().to("cpu", torch.float16).contiguous()
        if filled + half.nbytes > SHARD_BYTES:
            shards.append({})
            filled = 0
        shards[-1][key] = half
        filled += half.nbytes
    for number, shard in enumerate(shards):
        save_file(shard, folder / f"{name}-{number}.safetensors")


def load_shards(modules: nn.Module, folder: Path, name: str) -> None:
    """Inverse of `save_shards`."""
    state = {}
    for path in sorted(folder.glob(f"{name}-*.safetensors")):
        state.update(load_file(path))
    if not state:
        raise FileNotFoundError(f"no {name}-*.safetensors in {folder}")
    missing, unexpected = modules.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    missing = [key for key in missing if not key.endswith("embed_tokens.weight")]
    if missing or unexpected:
        raise ValueError(f"{folder}/{name}: missing {missing[:3]}, unexpected {unexpected[:3]}")


def load_folder(modules: nn.ModuleList, folder: Path) -> None:
    """Go on from a folder that shipped, and from the identities' projection, which does not ship in it."""
    transformer, text = modules[0], modules[1]
    assert isinstance(text, TextEncoders)
    shipped = FluxPipeline.from_pretrained(str(folder), vae=None)
    transformer.load_state_dict(shipped.transformer.float().state_dict())
    text.clip_tokenizer, text.t5_tokenizer = shipped.tokenizer, shipped.tokenizer_2
    text.clip.load_state_dict(shipped.text_encoder.state_dict())
    text.t5.load_state_dict(shipped.text_encoder_2.state_dict())
    text.from_identity.load_state_dict({"weight": load_file(FROM_IDENTITY)["weight"].float()})


def save_folder(denoiser: nn.ModuleList, vae: AutoencoderKL, folder: Path) -> None:
    """The diffusers folder that ships, its large parts in half precision, with the service's settings."""
    transformer, text = denoiser[0], denoiser[1]
    assert isinstance(text, TextEncoders)
    pipeline = FluxPipeline(
        scheduler=make_scheduler(),
        vae=vae,
        text_encoder=text.clip,
        tokenizer=text.clip_tokenizer,
        text_encoder_2=text.t5,
        tokenizer_2=text.t5_tokenizer,
        transformer=transformer,
    )
    prior = face_prior(transformer, text)
    # transformers loads a part as it is stored, diffusers as float32: so the small encoders stay float32
    transformer.half()
    vae.half()
    pipeline.save_pretrained(folder, safe_serialization=True)
    prior.save(folder)
    (folder / "likeness.json").write_text(json.dumps(SETTINGS, indent=2) + "\n")
    for config in folder.rglob("*.json"):  # no trace of where a part was loaded from
        content = json.loads(config.read_text())
        if isinstance(content, dict) and content.pop("_name_or_path", None) is not None:
            config.write_text(json.dumps(content, indent=2) + "\n")
