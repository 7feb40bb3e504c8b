"""What one training step sees."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from engine.batches import Batches, by_shape
from engine.crops import Framing
from engine.dataset import Dataset, Photo, View
from engine.presets import Recipe
from engine.sigma_shift import SigmaShift

RECIPE = Recipe(rank=4, steps=1, batch_size=2, learning_rate=1e-3, warmup_steps=1, resolutions_px=(64,))
SHIFT = SigmaShift(_class_name="FlowMatchEulerDiscreteScheduler")


def view(tag: int, side: int = 4, share: float = 1.0, caption: str = "said") -> View:
    return View(
        torch.full((side, 64), float(tag)),
        side,
        side,
        torch.ones(side, 4),
        Framing.CLOSE_UP,
        share,
        b"",
        caption,
    )


def dataset(**changes) -> Dataset:
    photos = {name: Photo((view(number),)) for number, name in enumerate("abcd")}
    return replace(Dataset(photos, plain="plain"), **changes)


def batches(data: Dataset, recipe: Recipe = RECIPE, seed: int = 1) -> Batches:
    return Batches(data, recipe, SHIFT, torch.Generator().manual_seed(seed))


def test_every_photo_comes_once_before_any_comes_again() -> None:
    source = batches(dataset())
    tags = [int(draw.view.latents[0, 0]) for _ in range(6) for draw in source.next()]
    assert sorted(tags[:4]) == sorted(tags[4:8]) == sorted(tags[8:]) == [0, 1, 2, 3]


@pytest.mark.parametrize("ahead", [False, True])
def test_it_goes_on_from_its_state_whatever_was_drawn_ahead(ahead: bool) -> None:
    whole, again = batches(dataset()), batches(dataset(), seed=5)
    whole.next()
    if ahead:
        assert len(whole.draw_ahead(3)) == 3 * RECIPE.batch_size
    again.draw_ahead(1)
    again.go_on(*whole.state)
    for _ in range(5):
        for first, second in zip(whole.next(), again.next(), strict=True):
            assert torch.equal(first.noise, second.noise)
            assert torch.equal(first.sigma, second.sigma)
            assert torch.equal(first.view.latents, second.view.latents)


def test_a_caption_is_dropped_as_often_as_the_recipe_says() -> None:
    source = batches(dataset(), replace(RECIPE, caption_dropout=0.25, batch_size=2000))
    seen = Counter(draw.caption for draw in source.next())
    assert set(seen) == {"said", "plain"}
    assert seen["plain"] / 2000 == pytest.approx(0.25, abs=0.03)


def test_views_come_by_their_shares_and_prior_pictures_by_theirs() -> None:
    photo = Photo((view(1, share=0.8), view(2, share=0.2)))
    data = Dataset({"a": photo}, plain="plain", prior=(view(9, caption="anybody"),))
    drawn = batches(data, replace(RECIPE, prior_share=0.1, batch_size=4000)).next()
    seen = Counter(int(draw.view.latents[0, 0]) for draw in drawn)
    assert seen[9] / 4000 == pytest.approx(0.1, abs=0.02)
    assert seen[2] / (seen[1] + seen[2]) == pytest.approx(0.2, abs=0.03)
    assert {draw.caption for draw in drawn if draw.view.latents[0, 0] == 9} == {"anybody"}


def test_draws_of_one_shape_go_together() -> None:
    data = Dataset({"a": Photo((view(1, 4),)), "b": Photo((view(2, 8),))}, plain="plain")
    drawn = batches(data, replace(RECIPE, batch_size=4)).next()
    groups = by_shape(drawn)
    assert sorted(len(group) for group in groups) == [2, 2]
    assert all(len({draw.view.rows for draw in group}) == 1 for group in groups)
