"""A face that an adapter starts from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import BaseUnusable
from engine.face_prior import FILE, PLACE, FacePrior
from engine.lora import AdapterInfo, AdapterSlot

INFO = AdapterInfo("a", "p", "r", rank=4)


def some_face(seed: int = 0) -> np.ndarray:
    face = np.random.default_rng(seed).normal(size=128).astype(np.float32)
    return face / np.linalg.norm(face)


@pytest.fixture
def prior(base) -> FacePrior:
    entrance = base.transformer.get_submodule(PLACE)
    width, inner = entrance.in_features, entrance.out_features
    generator = torch.Generator().manual_seed(1)
    reads = torch.zeros(width)
    reads[3] = 1.0
    return FacePrior(reads, torch.randn(inner, 128, generator=generator))


@pytest.fixture
def entered(cache_dir: Path):
    """A base of its own, whose slot reaches the entrance."""
    from engine.config import EngineConfig
    from engine.models import load_base

    own = load_base(EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir)))
    return own, AdapterSlot(own.transformer, (PLACE,))


def test_a_folder_without_one_has_none(base, tmp_path: Path) -> None:
    assert FacePrior.load(tmp_path, base.transformer) is None


def test_it_is_what_was_saved(base, prior: FacePrior, tmp_path: Path) -> None:
    prior.save(tmp_path)
    again = FacePrior.load(tmp_path, base.transformer)
    assert again is not None
    assert torch.equal(again.reads, prior.reads) and torch.equal(again.writes, prior.writes)


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\x80\x04pickle"])
def test_a_damaged_file_is_named(content: bytes, base, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(BaseUnusable, match=FILE):
        FacePrior.load(tmp_path, base.transformer)


def test_the_prior_of_another_base_is_refused_at_the_start(base, prior: FacePrior, tmp_path: Path) -> None:
    FacePrior(prior.reads[:-1], prior.writes).save(tmp_path)
    with pytest.raises(BaseUnusable, match="another base"):
        FacePrior.load(tmp_path, base.transformer)


def test_the_adapter_says_the_face_where_the_trigger_is_and_nothing_elsewhere(entered, prior) -> None:
    base, slot = entered
    adapter, face = slot.fresh(INFO, torch.Generator().manual_seed(0)), some_face()
    prior.start(adapter, face)
    states = torch.zeros(2, base.transformer.get_submodule(PLACE).base_layer.in_features)
    states[0, 3] = 1.0  # the trigger word
    states[1, 4] = 1.0  # another
    entrance = base.transformer.get_submodule(PLACE)
    bare = entrance(states)
    with slot.holding(adapter):
        changed = entrance(states) - bare
    torch.testing.assert_close(changed[0], prior.writes @ torch.from_numpy(face), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(changed[1], torch.zeros_like(changed[1]))


def test_training_starts_from_it_unless_it_is_switched_off(entered, prior, accelerator, tmp_path) -> None:
    from engine.presets import recipe_for
    from engine.trainer import Training
    from tests.engine.test_trainer import Dataset

    base, slot = entered
    base, recipe = replace(base, face_prior=prior), recipe_for("fast", base.settings)

    def begun(recipe) -> torch.Tensor:
        training = Training(base, slot, Dataset(), recipe, INFO, tmp_path, 1, accelerator, some_face())
        return training.adapter.tensors[f"{PLACE}.lora_B"]

    assert begun(replace(recipe, rank=4)).abs().max() > 0
    assert begun(replace(recipe, rank=4, face_prior=False)).abs().max() == 0


def test_the_small_base_knows_its_trigger_word_in_every_style() -> None:
    from bot.styles import Catalogue, StyleRequest
    from engine.config import EngineConfig
    from engine.models import load_base

    base = load_base(EngineConfig(base="demo", device="cpu"))
    prior = base.face_prior
    assert prior is not None
    trigger = base.t5_tokenizer.convert_tokens_to_ids(f"▁{base.settings.trigger}")
    catalogue = Catalogue.load()
    for style in catalogue.search("", limit=100):
        prompt = catalogue.prompt(StyleRequest(style=style.id)).replace("{subject}", base.settings.subject)
        states = base.encode_text(prompt).tokens.float()
        ids = base.t5_tokenizer(prompt, padding="max_length", max_length=base.text_tokens, truncation=True)
        at = torch.tensor(ids.input_ids) == trigger
        said = states @ prior.reads
        assert at.sum() == 1
        assert 0.8 < float(said[at]) < 1.2
        assert float(said[~at].square().mean().sqrt()) < 0.2
