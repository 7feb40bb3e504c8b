"""Adapters: exactly one at a time, exactly the file that was saved, and no other file at all."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from engine.errors import AdapterCorrupt
from engine.lora import (
    METADATA_KEY,
    Adapter,
    AdapterInfo,
    AdapterSlot,
    load_adapter,
    read_info,
    save_adapter,
)

CPU = torch.device("cpu")


def adapter(base, slot: AdapterSlot, seed: int, rank: int = 4, person: str = "ada") -> Adapter:
    """Random in both halves, so that it changes what the base computes."""
    generator = torch.Generator().manual_seed(seed)
    info = AdapterInfo(f"adapter-{person}", person, base.folder.revision, rank, facts={"identity": "abc"})
    fresh = slot.fresh(info, generator)
    for name, tensor in fresh.tensors.items():
        if name.endswith("lora_B"):
            tensor.normal_(std=0.5, generator=generator)
    return fresh


@torch.no_grad()
def look(base) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    text = base.encode_text("photo of sks person")
    return base.predict(torch.randn(1, 16, 64, generator=generator), torch.tensor([0.5]), [text], 8, 8, 1.0)


def test_attention_and_feed_forward_of_every_block_are_adapted_and_nothing_else(slot: AdapterSlot) -> None:
    modules = {name.rsplit(".", 1)[0] for name in slot.names}
    double, single = "transformer_blocks.0.", "single_transformer_blocks.0."
    expected = {
        f"{double}attn.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj")
    }
    expected |= {f"{double}attn.{name}" for name in ("add_v_proj", "to_add_out")}
    expected |= {f"{double}{ff}.net.{layer}" for ff in ("ff", "ff_context") for layer in ("0.proj", "2")}
    expected |= {
        f"{single}{name}" for name in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp", "proj_out")
    }
    assert modules == expected


def test_a_fresh_adapter_changes_nothing(base, slot: AdapterSlot) -> None:
    bare = look(base)
    info = AdapterInfo("a", "p", base.folder.revision, 4)
    with slot.holding(slot.fresh(info, torch.Generator().manual_seed(1))):
        assert torch.equal(look(base), bare)


def test_each_adapter_alone_whatever_was_active_before(base, slot: AdapterSlot) -> None:
    bare = look(base)
    first, second = adapter(base, slot, 1), adapter(base, slot, 2, rank=8, person="ben")
    with slot.holding(first):
        alone_first = look(base)
    with slot.holding(second):
        alone_second = look(base)
    assert not torch.allclose(alone_first, bare, atol=1e-3)
    assert not torch.allclose(alone_first, alone_second, atol=1e-3)
    for _ in range(3):
        with slot.holding(second):
            assert torch.equal(look(base), alone_second)
        with slot.holding(first):
            assert torch.equal(look(base), alone_first)
        assert torch.equal(look(base), bare)


def test_the_branch_is_alpha_over_rank_times_b_a(base, slot: AdapterSlot) -> None:
    """Against weights merged by hand, in float64 apart from the base's own rounding."""
    one = adapter(base, slot, 3)
    with slot.holding(one):
        adapted = look(base)
    modules = dict(base.transformer.named_modules())
    paths = {name.rsplit(".", 1)[0] for name in slot.names}
    kept = {path: modules[path].base_layer.weight.detach().clone() for path in paths}
    try:
        for path in paths:
            delta = one.tensors[f"{path}.lora_B"].double() @ one.tensors[f"{path}.lora_A"].double()
            modules[path].base_layer.weight.data += delta.float()
        assert torch.allclose(look(base), adapted, atol=1e-4)
    finally:
        for path, weight in kept.items():
            modules[path].base_layer.weight.data.copy_(weight)


def test_a_file_comes_back_exactly(base, slot: AdapterSlot, tmp_path: Path) -> None:
    saved = adapter(base, slot, 4)
    save_adapter(tmp_path / "a.safetensors", saved)
    loaded = load_adapter(tmp_path / "a.safetensors", slot, base.folder.revision, CPU)
    assert loaded.info == saved.info
    assert all(torch.equal(loaded.tensors[name], saved.tensors[name]) for name in slot.names)
    assert all(key.startswith("transformer.") for key in load_file(tmp_path / "a.safetensors"))


def test_a_plain_diffusers_pipeline_reads_the_file(base, slot: AdapterSlot, tmp_path: Path) -> None:
    one = adapter(base, slot, 5)
    save_adapter(tmp_path / "a.safetensors", one)
    pipeline = FluxPipeline.from_pretrained(base.folder.path)
    pipeline.load_lora_weights(str(tmp_path), weight_name="a.safetensors")
    generator = torch.Generator().manual_seed(0)
    text = base.encode_text("photo of sks person")
    with torch.no_grad():
        theirs = pipeline.transformer(
            hidden_states=torch.randn(1, 16, 64, generator=generator),
            timestep=torch.tensor([0.5]),
            guidance=torch.tensor([1.0]),
            pooled_projections=text.pooled[None],
            encoder_hidden_states=text.tokens[None],
            txt_ids=torch.zeros(base.text_tokens, 3),
            img_ids=pipeline._prepare_latent_image_ids(1, 4, 4, CPU, torch.float32),
        ).sample
    with slot.holding(one):
        assert torch.allclose(look(base), theirs, atol=1e-5)


def rewritten(path: Path, change_tensors=None, **change_info) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    if change_tensors:
        change_tensors(tensors)
    info = {**json.loads(metadata[METADATA_KEY]), **change_info}
    save_file(tensors, path, {METADATA_KEY: json.dumps(info)})


def drop_one(tensors: dict) -> None:
    tensors.pop(sorted(tensors)[0])


def add_one(tensors: dict) -> None:
    tensors["transformer.transformer_blocks.0.norm1.linear.lora_A.weight"] = torch.zeros(4, 4)


def one_of_another_rank(tensors: dict) -> None:
    name = next(name for name in tensors if "lora_A" in name)
    tensors[name] = torch.cat([tensors[name], tensors[name]])


def not_a_number(tensors: dict) -> None:
    tensors[sorted(tensors)[0]][0, 0] = float("nan")


@pytest.mark.parametrize(
    ("change_tensors", "change_info"),
    [
        (drop_one, {}),
        (add_one, {}),
        (one_of_another_rank, {}),
        (not_a_number, {}),
        (None, {"rank": 8, "alpha": 8}),
        (None, {"alpha": 1}),
        (None, {"base_revision": "another"}),
        (None, {"format_version": 99}),
        (None, {"surprise": 1}),
    ],
)
def test_a_file_that_does_not_fit_is_refused(base, slot, tmp_path: Path, change_tensors, change_info) -> None:
    path = tmp_path / "a.safetensors"
    save_adapter(path, adapter(base, slot, 6))
    rewritten(path)
    load_adapter(path, slot, base.folder.revision, CPU)
    rewritten(path, change_tensors, **change_info)
    with pytest.raises(AdapterCorrupt) as refusal:
        load_adapter(path, slot, base.folder.revision, CPU)
    assert refusal.value.path == str(path)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", None])
def test_a_damaged_or_foreign_file_is_refused(base, slot, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.safetensors"
    if content is None:
        save_file({"lora_unet_double_blocks_0.lora_down.weight": torch.zeros(4, 4)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(AdapterCorrupt):
        read_info(path)


def test_a_file_cut_short_is_refused(base, slot, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_adapter(path, adapter(base, slot, 7))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(AdapterCorrupt):
        load_adapter(path, slot, base.folder.revision, CPU)
