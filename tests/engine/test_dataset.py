"""Selfies as a training sees them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.dataset import Dataset
from engine.demo_base.attributes import Attributes
from engine.presets import Recipe
from engine.selfies import Selfie, Split
from tests.engine.facts import facts

RECIPE = Recipe(rank=4, steps=1, batch_size=1, learning_rate=1e-3, warmup_steps=1, resolutions_px=(64,))
OUTDOORS = Attributes(
    person="person", age="", clothing="casual", clothing_colour="blue", background="outdoor",
    background_colour="", expression="smiling", glasses="", light="", monochrome=False,
)  # fmt: skip


def added(base, paths: list[str], recipe: Recipe = RECIPE) -> Dataset:
    dataset = Dataset()
    for path in paths:
        dataset.add(Selfie.of(path, {}), base, recipe)
    return dataset


def prepared(base, paths: list[str], recipe: Recipe = RECIPE) -> Dataset:
    dataset = added(base, paths, recipe)
    while dataset.say(base):
        pass
    return dataset


def test_latents_belong_to_their_photo_whatever_the_order(base, coloured_photos: Callable) -> None:
    paths = [*coloured_photos((220, 30, 30), 2, "red"), *coloured_photos((30, 30, 220), 2, "blue")]
    forward, backward = prepared(base, paths), prepared(base, paths[::-1])
    assert forward.keys == backward.keys
    for key in forward.keys:
        assert torch.equal(forward.photos[key].views[0].latents, backward.photos[key].views[0].latents)
    assert forward.fingerprint() == backward.fingerprint()
    assert forward.photos["red-0"].views[0].caption == forward.plain == "photo of sks person"
    assert set(forward.texts) == {"photo of sks person"}


def test_anything_else_is_another_dataset(base, coloured_photos: Callable) -> None:
    """Pixels, captions, weights, masks and held-out selfies are all in the fingerprint."""
    one = prepared(base, coloured_photos((220, 30, 30), 2, "same"))
    key = one.keys[0]
    view = one.photos[key].views[0]

    def with_view(**changes) -> Dataset:
        photo = replace(one.photos[key], views=(replace(view, **changes),))
        return replace(one, photos={**one.photos, key: photo})

    others = [
        prepared(base, coloured_photos((30, 30, 220), 2, "same")),
        replace(one, weights={key: 1.5}),
        replace(one, held_out=[Selfie("x", Path("x"), None)]),
        replace(one, prior=(view,)),
        with_view(caption="photo of sks person, smiling"),
        with_view(weights=view.weights * 2),
        with_view(share=0.5),
    ]
    prints = [dataset.fingerprint() for dataset in (one, *others)]
    assert len(set(prints)) == len(prints)
    assert with_view().fingerprint() == one.fingerprint()


def test_a_photo_is_called_by_what_varies_and_not_by_the_face(base, coloured_photos: Callable) -> None:
    dataset = added(base, coloured_photos((220, 30, 30), 2, "red"))
    key, other = dataset.keys
    dataset.photos[key] = replace(dataset.photos[key], attributes=OUTDOORS)
    assert [dataset.say(base), len(dataset.texts)] == [True, 1], "one at a time: each may take a second"
    assert [dataset.say(base), len(dataset.texts)] == [True, 2]
    assert [dataset.say(base), len(dataset.texts)] == [False, 2]
    said = dataset.photos[key].views[0].caption
    assert said == "photo of sks person, wearing a blue casual top, outdoor background, smiling"
    assert dataset.photos[other].views[0].caption == dataset.plain
    assert set(dataset.texts) == {said, dataset.plain}


def test_held_out_selfies_and_weights_come_from_the_split(tmp_path: Path) -> None:
    selfies = [Selfie(f"p{i}", tmp_path, facts(0, i)) for i in range(6)]
    split = Split(selfies[1:], selfies[:1])
    dataset = Dataset.of(split, RECIPE)
    assert [selfie.key for selfie in dataset.held_out] == ["p0"]
    assert set(dataset.weights) == {f"p{i}" for i in range(1, 6)}
    assert dataset.mesh is not None
    bare = Dataset.of(split, replace(RECIPE, captions=False, weigh_photos=False))
    assert (bare.weights, bare.mesh) == ({}, None)


def test_a_face_makes_the_middle_of_the_crop_weigh_more(base, tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    Image.fromarray(np.full((1280, 960, 3), 128, np.uint8)).save(path)
    dataset = Dataset()
    dataset.add(Selfie("p", path, facts(0, 1)), base, replace(RECIPE, mask_floor=0.3))
    (view,) = dataset.photos["p"].views
    assert view.weights.shape == (len(view.latents), 4)
    assert float(view.weights.mean()) == pytest.approx(1.0, abs=1e-5)
    assert view.weights.max() > 2 * view.weights.min()
