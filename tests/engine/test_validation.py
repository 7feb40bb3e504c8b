"""A look: fixed portraits, measured against selfies that the training never saw."""

import numpy as np
import pytest

from engine.base_folder import BaseSettings, LoraSettings
from engine.curve import SHARE
from engine.inspection import Inspection, backdrop
from engine.likeness import Reference
from engine.lora import AdapterInfo
from engine.models import Base
from engine.presets import recipe_for
from engine.validation import PROMPTS, Validation, ValidationPlan, measured
from tests.engine.inspections import NO_FACE, PERSON, seen, thumbnail, towards

SMALL = BaseSettings(
    resolution_px=256, picture_px=256, num_inference_steps=24, lora=LoraSettings(steps=400, batch_size=4)
)


class Eyes:
    """Stands for the inspector: random pictures show no face, so each is taken for the same good one."""

    def __init__(self) -> None:
        self.pictures: list[np.ndarray] = []

    def inspect(self, pixels: np.ndarray) -> Inspection:
        self.pictures.append(pixels)
        return seen(0.6, backdrop=backdrop(pixels))


def run(base: Base, slot, eyes: Eyes, plan: ValidationPlan):
    import torch

    adapter = slot.fresh(AdapterInfo("a", "p", "r", 4), torch.Generator().manual_seed(1))
    validation = Validation(base, slot, adapter, plan, eyes)
    while not validation.finished:
        validation.step()
    return validation.point(30, Reference((PERSON,)))


@pytest.mark.parametrize("preset", ["fast", "balanced", "best"])
@pytest.mark.parametrize("settings", [SMALL, BaseSettings()], ids=["small", "flux"])
def test_every_preset_is_looked_at_several_times_at_a_bounded_cost(preset: str, settings) -> None:
    recipe = recipe_for(preset, settings)
    plan = ValidationPlan.of(recipe, settings)
    looks = [step for step in range(recipe.steps + 1) if plan.is_due(step, recipe.steps)]
    assert looks[0] == 0
    assert looks[-1] == recipe.steps
    assert 4 <= len(looks) <= 14
    forwards = (len(looks) - 2) * len(plan.shots) * plan.frame.num_steps
    assert forwards <= SHARE * 4 * recipe.batch_size * recipe.steps
    walked, step = [0], 0
    while step < recipe.steps:
        step = plan.next_after(step, recipe.steps)
        walked.append(step)
    assert walked == looks


def test_both_prompts_are_drawn_with_the_same_seeds() -> None:
    plan = ValidationPlan.of(recipe_for("fast", SMALL), SMALL)
    half = len(plan.shots) // len(PROMPTS)
    assert [shot.seeds for shot in plan.shots[:half]] == [shot.seeds for shot in plan.shots[half:]]
    assert all(SMALL.subject in shot.prompt and "{" not in shot.prompt for shot in plan.shots)


def test_the_same_adapter_gives_the_same_point(base, slot) -> None:
    plan = ValidationPlan.of(recipe_for("fast", base.settings), base.settings)
    first, again = Eyes(), Eyes()
    assert run(base, slot, first, plan) == run(base, slot, again, plan)
    assert len(first.pictures) == len(plan.shots)
    assert all(np.array_equal(a, b) for a, b in zip(first.pictures, again.pictures, strict=True))


def test_likeness_is_the_mean_over_pictures_and_held_out_selfies() -> None:
    reference = Reference((PERSON, towards(0.5, 2)))
    point = measured(40, [seen(0.6), seen(0.2), NO_FACE, seen(0.4)], reference)
    assert point.step == 40
    assert point.each == pytest.approx((0.3, 0.15), abs=1e-4)
    assert point.likeness == pytest.approx(0.225, abs=1e-4)
    assert point.faces == 0.75


def test_contrast_is_between_the_two_prompts() -> None:
    pictures = [seen(backdrop=value) for value in (0.9, 0.8, 0.2, 0.1)]
    assert measured(0, pictures, Reference((PERSON,))).contrast == pytest.approx(0.7)


def test_copies_are_counted() -> None:
    reference = Reference((PERSON,), thumbnails=(thumbnail(5),))
    pictures = [seen(), seen(thumbnail=thumbnail(5)), NO_FACE, seen(thumbnail=thumbnail(6))]
    assert measured(0, pictures, reference).copies == 1
