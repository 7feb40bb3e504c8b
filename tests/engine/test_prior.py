"""Prior preservation: the base's own pictures of anybody, and that a training with them forgets less."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine import flow
from engine.config import EngineConfig
from engine.dataset import Dataset
from engine.generator import Drawing, Frame, Shot
from engine.lora import AdapterInfo, AdapterSlot
from engine.models import load_base
from engine.presets import Recipe
from engine.prior import SEED, PriorPictures, prior_captions, remove_prior_pictures
from engine.selfies import Selfie
from engine.trainer import Training

RECIPE = Recipe(
    rank=4, steps=40, batch_size=2, learning_rate=3e-3, warmup_steps=5, resolutions_px=(64,),
    prior_share=0.5, prior_count=5,
)  # fmt: skip


def made(base, slot, work_dir: Path, recipe: Recipe = RECIPE, most: int = 10_000) -> PriorPictures:
    pictures = PriorPictures(base, slot, slot, recipe, work_dir)
    while not pictures.finished and most:
        pictures.step()
        most -= 1
    return pictures


def test_they_are_the_bases_own_pictures_of_nobody(base, slot, tmp_path: Path) -> None:
    views = made(base, slot, tmp_path).views()
    assert len(views) == RECIPE.prior_count
    assert {view.caption for view in views} == set(prior_captions(base.settings))
    assert not any(base.settings.trigger in view.caption for view in views)
    assert all(torch.equal(view.weights, torch.ones(16, 4)) for view in views)
    assert len({view.source for view in views}) == RECIPE.prior_count
    settings, drawn = base.settings, {}
    frame = Frame(64, 64, settings.num_inference_steps, settings.guidance)
    nobody = slot.fresh(AdapterInfo("", "", "", 4), torch.Generator().manual_seed(1))
    drawing = Drawing(base, slot, nobody, frame, {1: Shot(views[1].caption, (SEED + 1,))}, drawn.__setitem__)
    while not drawing.finished:
        drawing.step()
    pixels = torch.from_numpy(drawn[1].copy()).permute(2, 0, 1).float() / 127.5 - 1
    torch.testing.assert_close(views[1].latents, base.encode_picture(pixels), rtol=0, atol=0.05)


def test_none_are_made_where_none_are_wanted(base, slot, tmp_path: Path) -> None:
    pictures = PriorPictures(base, slot, slot, replace(RECIPE, prior_share=0.0), tmp_path)
    assert pictures.finished
    assert pictures.views() == ()
    assert not list(tmp_path.iterdir())


def test_they_are_drawn_where_the_base_is(base, slot, tmp_path: Path) -> None:
    """A branch on the CPU beside linears on a GPU would not compute."""
    elsewhere = replace(base, device=torch.device("meta"))
    nobody = PriorPictures(elsewhere, slot, slot, RECIPE, tmp_path)._drawing._adapter
    assert {tensor.device.type for tensor in nobody.tensors.values()} == {"meta"}


def test_after_a_crash_only_the_missing_are_drawn_and_all_are_the_same(
    base, slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot, "batch_tokens", 2 * 16)  # two at a time
    whole = made(base, slot, tmp_path / "whole")
    made(base, slot, tmp_path / "cut", most=base.settings.num_inference_steps + 2)
    (kept,) = (tmp_path / "cut").iterdir()
    written = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert set(written) == {"0.png", "1.png"}
    (kept / "1.png").unlink()
    made(base, slot, tmp_path / "cut", most=base.settings.num_inference_steps + 2)
    written = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert set(written) == {"0.png", "1.png"}
    again = made(base, slot, tmp_path / "cut")
    assert {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}.items() >= written.items()
    assert [view.source for view in again.views()] == [view.source for view in whole.views()]
    remove_prior_pictures(tmp_path / "cut")
    assert not list((tmp_path / "cut").iterdir())


@pytest.mark.slow
def test_with_them_anybody_does_not_become_the_person(
    coloured_photos: Callable, accelerator, tmp_path: Path
) -> None:
    """On the small base, for a random one knows nobody. Where the clean picture that is predicted for anybody
    lies between the base's pictures of anybody, others than those of the training (0), and the person's (1).
    """
    loaded = load_base(EngineConfig(base="demo", device="cpu"))
    folder = replace(loaded.folder, settings=loaded.settings.model_copy(update={"num_inference_steps": 8}))
    base, slot = replace(loaded, folder=folder), AdapterSlot(loaded.transformer)
    recipe, dataset = replace(RECIPE, resolutions_px=(128,)), Dataset()
    for path in coloured_photos((220, 40, 40), 4):
        dataset.add(Selfie.of(path, {}), base, recipe)
    while dataset.say(base):
        pass
    views = made(base, slot, tmp_path, replace(recipe, prior_count=12)).views()
    with_prior = replace(dataset, prior=views[:6], photos=dict(dataset.photos), texts=dict(dataset.texts))
    while with_prior.say(base):
        pass
    assert {view.caption for view in views} <= set(with_prior.texts)
    clean = torch.stack([view.latents for view in views[6:]])
    person = torch.stack([photo.views[0].latents for photo in dataset.photos.values()]).mean(0)
    towards = person - clean.mean(0)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(4))
    sigmas = torch.full((len(clean),), 0.9)
    anybody = [with_prior.texts[view.caption] for view in views[6:]]
    somebody = [with_prior.texts[with_prior.plain]] * len(clean)

    @torch.no_grad()
    def moved(training: Training, texts: list) -> float:
        noised = flow.noised(clean, noise, sigmas)
        with slot.holding(training.adapter):
            found = noised - 0.9 * base.predict(noised, sigmas, texts, 16, 16, 1.0)
        return float(((found - clean).mean(0) * towards).sum() / (towards**2).sum())

    share, reached = {}, {}
    for name, data in (("without", dataset), ("with", with_prior)):
        info = AdapterInfo("a", "p", base.folder.revision, RECIPE.rank)
        training = Training(base, slot, data, recipe, info, tmp_path / name, 7, accelerator)
        while not training.finished:
            training.step()
        share[name], reached[name] = moved(training, anybody), moved(training, somebody)
    assert share["without"] > 0.15
    assert share["with"] < 0.5 * share["without"]
    assert reached["with"] > share["with"], "the person is learned all the same"
