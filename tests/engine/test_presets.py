"""Presets: one knob, everything else derived."""

import pytest

from engine.base_folder import BaseSettings
from engine.config import PRESETS
from engine.crops import Framing
from engine.presets import recipe_for


def test_better_presets_train_longer() -> None:
    for base in (BaseSettings(), BaseSettings.model_validate({"lora": {"steps": 100}})):
        steps = [recipe_for(preset, base).steps for preset in PRESETS]
        assert steps == sorted(set(steps))


def test_what_a_base_measured_wins() -> None:
    own = {"resolution_px": 256, "lora": {"rank": 8, "learning_rate": 5e-4, "steps": 300, "batch_size": 2}}
    recipe = recipe_for("balanced", BaseSettings.model_validate(own))
    assert (recipe.rank, recipe.learning_rate, recipe.steps, recipe.batch_size) == (8, 5e-4, 300, 2)
    assert recipe.resolutions_px == (256,)
    assert recipe.framings == (Framing.HEAD_AND_SHOULDERS,)


def test_every_switch_can_be_measured_by_a_base() -> None:
    own = {"captions": False, "caption_dropout": 0.0, "mask_floor": 1.0, "ema_decay": 0.0, "prior_share": 0.2}
    recipe = recipe_for("fast", BaseSettings.model_validate({"lora": own}))
    assert {name: getattr(recipe, name) for name in own} == own


def test_a_large_base_sees_several_framings_and_better_presets_more_sizes() -> None:
    recipes = [recipe_for(preset, BaseSettings()) for preset in PRESETS]
    assert all(set(recipe.framings) == set(Framing) for recipe in recipes)
    sizes = [recipe.resolutions_px for recipe in recipes]
    assert sizes == sorted(sizes, key=len)
    assert sizes[0] == (512,)
    assert max(sizes[-1]) == 1024


def test_a_moving_average_never_lags_by_more_than_a_tenth() -> None:
    for steps in (20, 130, 1000):
        settings = BaseSettings.model_validate({"lora": {"steps": steps}})
        assert 1 / (1 - recipe_for("balanced", settings).ema_decay) <= max(steps / 10, 10) + 0.1


def test_guidance_in_training_is_one_whatever_the_pictures_are_made_with() -> None:
    assert recipe_for("balanced", BaseSettings(guidance=3.5)).guidance == 1.0


def test_an_unknown_preset_is_an_error() -> None:
    with pytest.raises(KeyError):
        recipe_for("splendid", BaseSettings())
