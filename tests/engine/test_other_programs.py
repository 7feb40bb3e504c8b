"""A trained adapter's file in other programs: diffusers' own pipeline, and FLUX as ComfyUI runs it, both draw
the pictures that we draw. What is computed here is computed by other code, from the file alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from safetensors.torch import load_file

from engine.dataset import Dataset
from engine.generator import Drawing, Frame, Shot, noise_of
from engine.lora import AdapterInfo, load_adapter, save_adapter
from engine.presets import Recipe
from engine.selfies import Selfie
from engine.trainer import Training
from tests.engine import bfl_flux

RECIPE = Recipe(
    rank=4, steps=40, batch_size=2, learning_rate=2e-2, warmup_steps=2, resolutions_px=(64,), ema_decay=0.7
)
PROMPT, SEEDS, STEPS, SIDE = "professional headshot of sks person", ((11,), (12,)), 6, 64


@pytest.fixture
def file(base, slot, coloured_photos: Callable, accelerator, tmp_path: Path) -> Path:
    """Trained, saved."""
    data = Dataset()
    for path in coloured_photos((220, 40, 40), 3):
        data.add(Selfie.of(path, {}), base, RECIPE)
    while data.say(base):
        pass
    info = AdapterInfo("a", "p", base.folder.revision, RECIPE.rank)
    training = Training(base, slot, data, RECIPE, info, tmp_path, 7, accelerator)
    while not training.finished:
        training.step()
    save_adapter(tmp_path / "a.safetensors", training.adapter)
    return tmp_path / "a.safetensors"


def drawn(base, slot, adapter, guidance: float) -> np.ndarray:
    """Ours, (pictures, side, side, 3) in 0..255."""
    found: dict[int, np.ndarray] = {}
    frame = Frame(SIDE, SIDE, STEPS, guidance)
    shots = {index: Shot(PROMPT, seeds) for index, seeds in enumerate(SEEDS)}
    drawing = Drawing(base, slot, adapter, frame, shots, found.__setitem__)
    while not drawing.finished:
        drawing.step()
    return np.stack([found[index] for index in sorted(found)]).astype(int)


def noise(base) -> torch.Tensor:
    channels = base.transformer.config.in_channels
    return torch.stack([noise_of(seeds, (SIDE // 16) ** 2, channels) for seeds in SEEDS])


def by_diffusers(base, file: Path | None, guidance: float) -> np.ndarray:
    pipeline = FluxPipeline.from_pretrained(base.folder.path)
    pipeline.set_progress_bar_config(disable=True)
    if file is not None:
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name)
    pictures = pipeline(
        PROMPT, height=SIDE, width=SIDE, num_inference_steps=STEPS, guidance_scale=guidance,
        num_images_per_prompt=len(SEEDS), latents=noise(base), output_type="np",
        max_sequence_length=base.text_tokens,
    ).images  # fmt: skip
    return np.round(pictures * 255).astype(int)


def by_comfy(base, file: dict[str, torch.Tensor], guidance: float) -> np.ndarray:
    """The fused weights, changed as ComfyUI does, through the makers' own forward pass and schedule."""
    plain = FluxPipeline.from_pretrained(base.folder.path)  # weights of its own: nothing of ours is attached
    config = plain.transformer.config
    geometry = bfl_flux.Geometry(
        config.num_attention_heads * config.attention_head_dim, config.num_attention_heads,
        config.num_layers, config.num_single_layers, tuple(config.axes_dims_rope),
    )  # fmt: skip
    weights = bfl_flux.fused(plain.transformer.state_dict(), geometry)
    weights, unknown = bfl_flux.with_lora(weights, file, geometry)
    assert not unknown
    text = base.encode_text(PROMPT)
    latents = bfl_flux.Flux(weights, geometry).denoise(
        noise(base), bfl_flux.positions(SIDE // 8, SIDE // 8), torch.stack([text.tokens] * len(SEEDS)),
        torch.stack([text.pooled] * len(SEEDS)), STEPS, guidance,
    )  # fmt: skip
    rows = latents.view(len(SEEDS), SIDE // 16, SIDE // 16, -1, 2, 2).permute(0, 3, 1, 4, 2, 5)
    rows = rows.reshape(len(SEEDS), -1, SIDE // 8, SIDE // 8)
    vae = plain.vae
    with torch.no_grad():
        pictures = vae.decode(rows / vae.config.scaling_factor + vae.config.shift_factor).sample
    return (((pictures.clamp(-1, 1) + 1) / 2).permute(0, 2, 3, 1).numpy() * 255).round().astype(int)


def relayed(file: dict[str, torch.Tensor], layout: str, alpha: float | None) -> dict[str, torch.Tensor]:
    """The file's tensors under another program's names."""
    made = {}
    for key, tensor in file.items():
        path, kind = key.removeprefix("transformer.").removesuffix(".weight").rsplit(".", 1)
        stem = bfl_flux.LAYOUTS[layout](path)
        made[f"{stem}.{'lora_down' if kind == 'lora_A' else 'lora_up'}.weight"] = tensor
        if alpha is not None:
            made[f"{stem}.alpha"] = torch.tensor(alpha)
    return made


@pytest.mark.parametrize("guidance", [1.0, 3.5])
def test_a_plain_pipeline_and_comfyui_draw_our_pictures(base, slot, file: Path, guidance: float) -> None:
    adapter = load_adapter(file, slot, base.folder.revision, base.device)
    ours = drawn(base, slot, adapter, guidance)
    bare = by_diffusers(base, None, guidance)
    assert np.abs(ours - bare).mean() > 2, "the adapter hardly does anything: nothing would be proven"
    assert np.abs(by_diffusers(base, file, guidance) - ours).max() <= 1
    assert np.abs(by_comfy(base, load_file(file), guidance) - ours).max() <= 1


@pytest.mark.parametrize("layout", ["onetrainer", "diffsynth"])
def test_under_other_names_with_alpha_equal_to_the_rank_it_is_the_same(
    base, slot, file: Path, layout: str
) -> None:
    ours = drawn(base, slot, load_adapter(file, slot, base.folder.revision, base.device), 3.5)
    tensors = load_file(file)
    same = by_comfy(base, relayed(tensors, layout, float(RECIPE.rank)), 3.5)
    assert np.abs(same - ours).max() <= 1
    weaker = by_comfy(base, relayed(tensors, layout, RECIPE.rank / 4), 3.5)
    assert np.abs(weaker - ours).max() > 1, "alpha is read: another one would be another strength"


def test_without_an_adapter_too_all_three_are_one(base, slot) -> None:
    empty = slot.fresh(AdapterInfo("a", "p", base.folder.revision, 4), torch.Generator().manual_seed(1))
    ours = drawn(base, slot, empty, 3.5)
    assert np.abs(by_diffusers(base, None, 3.5) - ours).max() <= 1
    assert np.abs(by_comfy(base, {}, 3.5) - ours).max() <= 1


def test_every_tensor_of_the_file_lands_in_its_own_rows(base, slot, file: Path) -> None:
    """By ComfyUI's map: no key is left over, and no two write to one place."""
    config = base.transformer.config
    hidden = config.num_attention_heads * config.attention_head_dim
    geometry = bfl_flux.Geometry(hidden, 1, config.num_layers, config.num_single_layers, ())
    names = bfl_flux.key_map(geometry)
    adapter = load_adapter(file, slot, base.folder.revision, base.device)
    ones = replace(adapter, tensors={name: torch.ones_like(t) for name, t in adapter.tensors.items()})
    plain = FluxPipeline.from_pretrained(base.folder.path).transformer.state_dict()
    weights = {name: torch.zeros_like(t) for name, t in bfl_flux.fused(plain, geometry).items()}
    tensors = {f"transformer.{name}.weight": tensor for name, tensor in ones.tensors.items()}
    made, unknown = bfl_flux.with_lora(weights, tensors, geometry)
    assert not unknown
    touched = {name: tensor for name, tensor in made.items() if bool(tensor.any())}
    assert all(set(tensor.unique().tolist()) == {float(adapter.info.rank)} for tensor in touched.values())
    targets = {names[name.rsplit(".", 1)[0]] for name in slot.names}
    assert len(targets) == len(slot.names) // 2
