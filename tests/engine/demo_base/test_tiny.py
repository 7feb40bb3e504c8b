"""The random base that every fast test loads."""

from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline
from safetensors.torch import load_file

from engine.demo_base.tiny import make_tiny_base


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{file.parent.name}.{key}": value
        for file in sorted(folder.rglob("*.safetensors"))
        for key, value in load_file(file).items()
    }


@pytest.fixture(scope="module")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny"
    make_tiny_base(folder)
    return folder


def test_same_seed_same_weights_other_seed_others(tiny_base: Path, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    make_tiny_base(tmp_path / "again")
    make_tiny_base(tmp_path / "other", seed=1)
    first, again, other = _weights(tiny_base), _weights(tmp_path / "again"), _weights(tmp_path / "other")
    assert first.keys() == again.keys() == other.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["transformer.x_embedder.weight"], other["transformer.x_embedder.weight"])
    assert torch.equal(state, torch.get_rng_state()), "the caller's random numbers must not move"


def test_loads_as_a_plain_flux_pipeline_and_follows_the_prompt(tiny_base: Path) -> None:
    pipeline = FluxPipeline.from_pretrained(tiny_base)
    pipeline.set_progress_bar_config(disable=True)

    def picture(prompt: str) -> torch.Tensor:
        return pipeline(
            prompt,
            height=64,
            width=64,
            num_inference_steps=2,
            guidance_scale=1.0,
            max_sequence_length=pipeline.tokenizer_2.model_max_length,
            generator=torch.Generator().manual_seed(3),
            output_type="pt",
        ).images[0]

    navy = picture("photo of sks person, wearing a navy suit")
    assert navy.shape == (3, 64, 64)
    assert torch.equal(navy, picture("photo of sks person, wearing a navy suit"))
    assert not torch.equal(navy, picture("photo of sks person, outdoor background"))
