"""The one loader: what it refuses, and that the base it loads computes what diffusers' own pipeline does."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline
from safetensors.torch import load_file, save_file

from engine.__main__ import _build
from engine.base_folder import SETTINGS_FILE
from engine.config import EngineConfig
from engine.errors import BaseUnusable
from engine.models import KnownTexts, TextCondition, load_base


def config(base: str, cache_dir: Path, device: str = "cpu") -> EngineConfig:
    return EngineConfig(base=base, device=device, cache_dir=str(cache_dir))


def test_weights_that_lack_a_tensor_are_refused(base, tmp_path: Path) -> None:
    folder = shutil.copytree(base.folder.path, tmp_path / "base")
    path = next((folder / "transformer").glob("*.safetensors"))
    tensors = load_file(path)
    del tensors["single_transformer_blocks.0.proj_mlp.weight"]
    save_file(tensors, path)
    with pytest.raises(BaseUnusable, match="proj_mlp") as refusal:
        load_base(config(str(folder), tmp_path))
    assert refusal.value.path == str(folder / "transformer")


def test_weights_of_another_size_are_refused(base, tmp_path: Path) -> None:
    folder = shutil.copytree(base.folder.path, tmp_path / "base")
    path = next((folder / "vae").glob("*.safetensors"))
    tensors = load_file(path)
    tensors["encoder.conv_in.weight"] = torch.zeros(9, 3, 3, 3)
    save_file(tensors, path)
    with pytest.raises(BaseUnusable) as refusal:
        load_base(config(str(folder), tmp_path))
    assert refusal.value.path == str(folder / "vae")


def test_a_gated_base_without_a_network_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BaseUnusable) as refusal:
        load_base(config("flux1-dev", tmp_path))
    assert refusal.value.path == "flux1-dev"
    assert "hf download black-forest-labs/FLUX.1-dev" in refusal.value.remedy


def test_a_base_that_asks_for_no_licence_is_not_said_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BaseUnusable) as refusal:
        load_base(config("somebody/free", tmp_path))
    assert "hf download somebody/free" in refusal.value.remedy
    assert "licence" not in refusal.value.remedy


def test_a_base_that_does_not_fit_is_told_and_not_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_: EngineConfig) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("engine.models.load_base", no_room)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with pytest.raises(BaseUnusable) as refusal:
        _build(EngineConfig(base="tiny", device="cpu", cache_dir=str(tmp_path), mark_images=False), None)
    assert "memory_tier" in refusal.value.remedy


@pytest.mark.parametrize("name", ["no such base!", "/nowhere/at/all", "./nor-here"])
def test_a_name_that_leads_nowhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BaseUnusable) as refusal:
        load_base(config(name, tmp_path))
    assert refusal.value.path == name.removeprefix("./")


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseUnusable, match=r"\[engine\] device"):
        load_base(config("tiny", tmp_path, "cuda:77"))


def test_the_base_is_frozen(base) -> None:
    for model in (base.vae, base.clip, base.t5):
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert not model.training


def test_text_is_encoded_as_the_pipeline_does_it(base) -> None:
    pipeline = FluxPipeline.from_pretrained(base.folder.path)
    tokens, pooled, _ = pipeline.encode_prompt(
        "photo of sks person", None, max_sequence_length=base.text_tokens
    )
    text = base.encode_text("photo of sks person")
    assert text.tokens.shape[0] == base.text_tokens == base.t5_tokenizer.model_max_length
    assert torch.allclose(text.tokens, tokens[0], atol=1e-5)
    assert torch.allclose(text.pooled, pooled[0], atol=1e-5)


def test_a_prompt_is_encoded_once_and_the_memory_of_it_is_bounded(base, monkeypatch) -> None:
    monkeypatch.setattr("engine.models.KNOWN_TEXTS", 2)
    known, encoded = KnownTexts(), list[str]()

    def encode(prompt: str) -> TextCondition:
        encoded.append(prompt)
        return base._encoded(prompt)

    first = known.get("a", encode)
    for prompt in ("b", "a", "c"):
        known.get(prompt, encode)
    assert known.get("a", encode) is first
    assert encoded == ["a", "b", "c"], "it was asked for again, so another is forgotten"
    known.get("b", encode)
    assert encoded == ["a", "b", "c", "b"]
    assert replace(base, **base.parts()).known_texts is base.known_texts, "whatever draws shares it"


def test_latents_are_shifted_scaled_and_packed(base) -> None:
    picture = torch.rand(3, 64, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    before = base.vae.config.shift_factor, base.vae.config.scaling_factor
    plain = base.vae.encode(picture[None]).latent_dist.mode()
    try:
        base.vae.register_to_config(shift_factor=0.1159, scaling_factor=0.3611)
        tokens = base.encode_picture(picture)
        expected = FluxPipeline._pack_latents((plain - 0.1159) * 0.3611, 1, 16, 8, 6)
        assert torch.allclose(tokens, expected[0], atol=1e-6)
        decoded = base.decode_latents(tokens[None], 64, 48)
        assert torch.allclose(decoded, base.vae.decode(plain).sample.clamp(-1, 1), atol=1e-5)
    finally:
        base.vae.register_to_config(shift_factor=before[0], scaling_factor=before[1])


@pytest.mark.parametrize(("native", "wanted"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_base_in_bfloat16_on_a_cpu_that_has_it(
    native: bool, wanted: torch.dtype, base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    folder = shutil.copytree(base.folder.path, tmp_path / "base")
    settings = json.loads((folder / SETTINGS_FILE).read_text())
    (folder / SETTINGS_FILE).write_text(json.dumps({**settings, "cpu_precision": "bfloat16"}))
    loaded = load_base(config(str(folder), tmp_path))
    assert loaded.dtype == loaded.transformer.dtype == wanted
    assert {part.dtype for part in (loaded.vae, loaded.clip, loaded.t5)} == {torch.float32}
    assert load_base(config("tiny", tmp_path)).dtype == torch.float32, "it does not ask for it"
