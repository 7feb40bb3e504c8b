"""A look at an adapter in training: a few portraits with fixed seeds, measured against held-out selfies.

Half of them ask for a white backdrop and white clothes, half for black ones, with the same seeds: what the
prompt alone changes can then be measured without a network that reads pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.base_folder import BaseSettings
from engine.curve import Point, interval
from engine.generator import Drawing, Frame, Shot
from engine.inspection import Inspection, Inspector
from engine.likeness import Reference
from engine.lora import Adapter
from engine.merging import Holder
from engine.models import Base
from engine.pictures import Pixels
from engine.presets import Recipe

PROMPTS = (
    "professional headshot of {subject}, wearing a white shirt, white studio background",
    "professional headshot of {subject}, wearing a black suit, black studio background",
)
SEEDS = (20_261, 20_262)
# Portraits with fewer steps are softer, but as alike: enough to compare states of one adapter.
STEPS_SHARE, LEAST_STEPS = 0.4, 4


@dataclass(frozen=True)
class ValidationPlan:
    """When to look, and what is drawn for it: shots by prompt, then seed."""

    every: int
    shots: tuple[Shot, ...]
    frame: Frame

    @classmethod
    def of(cls, recipe: Recipe, settings: BaseSettings) -> "ValidationPlan":
        """All from the recipe and the base, so that the same training always looks at the same steps."""
        picture_steps = max(LEAST_STEPS, round(STEPS_SHARE * settings.num_inference_steps))
        picture_steps = min(picture_steps, settings.num_inference_steps)
        side = settings.resolution_px
        shots = tuple(
            Shot(prompt.replace("{subject}", settings.subject), (seed,))
            for prompt in PROMPTS
            for seed in SEEDS
        )
        return cls(
            interval(recipe.steps, recipe.batch_size, len(shots), picture_steps),
            shots,
            Frame(side, side, picture_steps, settings.guidance),
        )

    def is_due(self, step: int, total_steps: int) -> bool:
        """Whether the adapter is looked at after so many steps."""
        return step % self.every == 0 or step == total_steps

    def next_after(self, step: int, total_steps: int) -> int:
        """The step of the next look."""
        return min((step // self.every + 1) * self.every, total_steps)


class Validation:
    """One look, a quantum at a time."""

    def __init__(
        self,
        base: Base,
        holder: Holder,
        adapter: Adapter,
        plan: ValidationPlan,
        inspector: Inspector,
    ) -> None:
        """Nothing is computed yet."""
        self._inspector = inspector
        self._seen: dict[int, Inspection] = {}
        self._drawing = Drawing(base, holder, adapter, plan.frame, dict(enumerate(plan.shots)), self._take)

    @property
    def finished(self) -> bool:
        """Whether all was drawn and measured."""
        return self._drawing.finished

    def step(self) -> None:
        """One denoising step, or decoding and measuring. Raises OutOfMemoryError, FaceModelUnusable."""
        self._drawing.step()

    def point(self, step: int, reference: Reference) -> Point:
        """What was measured, once finished."""
        return measured(step, [self._seen[index] for index in sorted(self._seen)], reference)

    def _take(self, index: int, pixels: Pixels) -> None:
        self._seen[index] = self._inspector.inspect(pixels)


def measured(step: int, pictures: Sequence[Inspection], reference: Reference) -> Point:
    """The point of the curve; `pictures` are in the order of the plan's shots."""
    faces = [picture.face for picture in pictures]
    cosines = [
        reference.likeness(face.identity) if face else (0.0,) * len(reference.held_out) for face in faces
    ]
    each = tuple(round(float(value), 4) for value in np.mean(cosines, axis=0))
    half = len(pictures) // 2
    backdrops = [picture.backdrop for picture in pictures]
    return Point(
        step=step,
        likeness=round(float(np.mean(cosines)), 4),
        each=each,
        faces=round(sum(face is not None for face in faces) / len(faces), 3),
        copies=sum(face is not None and reference.is_copy(face) for face in faces),
        contrast=round(float(np.mean(backdrops[:half]) - np.mean(backdrops[half:])), 4),
    )
