"""What is refused before a single weight is read, and that each refusal names the file and the remedy."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.base_folder import BaseFolder, BaseSettings
from engine.demo_base.tiny import make_tiny_base
from engine.errors import BaseUnusable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_tiny_base(tmp_path / "base")
    return tmp_path / "base"


def weights(folder: Path, component: str) -> Path:
    return next((folder / component).glob("*.safetensors"))


def change_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def cut_short(folder: Path) -> str:
    path = weights(folder, "vae")
    path.write_bytes(path.read_bytes()[:-1000])
    return str(path)


def header_is_noise(folder: Path) -> str:
    path = weights(folder, "transformer")
    path.write_bytes(struct.pack("<Q", 64) + b"\x80" * 64)
    return str(path)


def weights_are_empty(folder: Path) -> str:
    path = weights(folder, "text_encoder")
    path.write_bytes(b"")
    return str(path)


def weights_are_missing(folder: Path) -> str:
    weights(folder, "text_encoder_2").unlink()
    return str(folder / "text_encoder_2")


def a_shard_is_missing(folder: Path) -> str:
    index = folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "part-1.safetensors"}}))
    return str(folder / "transformer" / "part-1.safetensors")


def only_a_pickle(folder: Path) -> str:
    path = weights(folder, "transformer")
    path.unlink()
    torch.save({}, path.with_suffix(".bin"))
    return str(path.with_suffix(".bin"))


def integers(folder: Path) -> str:
    path = weights(folder, "vae")
    save_file({name: tensor.to(torch.int8) for name, tensor in load_file(path).items()}, path)
    return str(path)


def another_pipeline(folder: Path) -> str:
    change_json(folder / "model_index.json", _class_name="StableDiffusionPipeline")
    return str(folder / "model_index.json")


def another_transformer(folder: Path) -> str:
    change_json(folder / "transformer" / "config.json", _class_name="SD3Transformer2DModel")
    return str(folder / "transformer" / "config.json")


def another_text_encoder(folder: Path) -> str:
    change_json(folder / "text_encoder_2" / "config.json", architectures=["BertModel"])
    return str(folder / "text_encoder_2" / "config.json")


def a_config_is_missing(folder: Path) -> str:
    (folder / "vae" / "config.json").unlink()
    return str(folder / "vae" / "config.json")


def a_config_is_damaged(folder: Path) -> str:
    (folder / "vae" / "config.json").write_text("{")
    return str(folder / "vae" / "config.json")


def no_tokenizer(folder: Path) -> str:
    (folder / "tokenizer_2" / "tokenizer.json").unlink()
    return str(folder / "tokenizer_2")


def settings_with_a_typo(folder: Path) -> str:
    (folder / "likeness.json").write_text('{"resolution": 256}')
    return str(folder / "likeness.json")


def no_folder(folder: Path) -> str:
    folder.rename(folder.with_name("elsewhere"))
    return str(folder)


@pytest.mark.parametrize(
    "damage",
    [
        cut_short,
        header_is_noise,
        weights_are_empty,
        weights_are_missing,
        a_shard_is_missing,
        only_a_pickle,
        integers,
        another_pipeline,
        another_transformer,
        another_text_encoder,
        a_config_is_missing,
        a_config_is_damaged,
        no_tokenizer,
        settings_with_a_typo,
        no_folder,
    ],
)
def test_a_damaged_or_foreign_base_is_refused_by_name(folder: Path, damage: Callable[[Path], str]) -> None:
    BaseFolder.open(folder)
    named = damage(folder)
    with pytest.raises(BaseUnusable) as refusal:
        BaseFolder.open(folder)
    assert refusal.value.path == named
    assert refusal.value.problem
    assert refusal.value.remedy


def test_the_revision_is_the_contents(folder: Path, tmp_path: Path) -> None:
    revision = BaseFolder.open(folder).revision
    make_tiny_base(tmp_path / "same")
    make_tiny_base(tmp_path / "other", seed=1)
    assert BaseFolder.open(tmp_path / "same").revision == revision
    assert BaseFolder.open(tmp_path / "other").revision != revision
    change_json(folder / "vae" / "config.json", scaling_factor=0.5)
    assert BaseFolder.open(folder).revision != revision


def test_settings_default_to_those_of_flux_dev() -> None:
    settings = BaseSettings()
    assert (settings.resolution_px, settings.picture_px) == (512, 1024)
    assert (settings.num_inference_steps, settings.guidance) == (28, 3.5)
    assert settings.subject == "ohwx person"


def test_a_base_brings_its_own_settings(folder: Path) -> None:
    (folder / "likeness.json").write_text('{"resolution_px": 256, "trigger": "sks", "lora": {"rank": 8}}')
    settings = BaseFolder.open(folder).settings
    assert (settings.resolution_px, settings.subject, settings.lora.rank) == (256, "sks person", 8)
