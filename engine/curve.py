"""The likeness of an adapter as it trains: when to look, which state was best, and when to stop.

Pure: numbers in, decisions out. Nothing here depends on the clock, so that a training that was interrupted
decides as one that was not.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.likeness import SAME_PERSON

# A training step costs about four forward passes of its pictures (323 against 65 ms at 512 px on an H200).
FORWARDS_A_STEP = 4
# At most so much of the training's own time goes into looking, and never more looks than these.
SHARE, MAX_LOOKS = 0.1, 12
# A published likeness peaks between a quarter and three quarters of a training's steps.
PATIENCE, LEAST_SHARE = 3, 0.4
# Of 27 trainings whose look found an earlier state more alike than the last one, photos that nobody had seen
# said so too for those alone where it found more than this (benchmarks/results/likeness_ablations.md).
NOISE = 0.06
# The same seed with a white and with a black backdrop: what the base makes of that, as a difference of luma.
# A base that makes less of it cannot be held to it; an adapter that keeps less than a third of it has learned
# the backdrops of the selfies instead of the face. Half was too much to ask beside a base with guidance,
# which goes all the way: states were thrown away whose backdrops still differed by .35 of the range.
MEASURABLE_CONTRAST, KEPT_CONTRAST = 0.15, 1 / 3


@dataclass(frozen=True)
class Point:
    """One look.

    likeness: mean cosine of the pictures to the held-out selfies; a picture without a face counts as 0.
    each: the same by held-out selfie. faces: share of pictures with a face. copies: pictures that repeat a
    selfie of the training. contrast: difference of luma behind the person that the prompt asked for.
    """

    step: int
    likeness: float
    each: tuple[float, ...] = ()
    faces: float = 0.0
    copies: int = 0
    contrast: float = 0.0


@dataclass(frozen=True)
class Curve:
    """Looks in order; the first, at step 0, is at the base itself."""

    points: tuple[Point, ...] = ()

    def has(self, step: int) -> bool:
        """Whether that step was looked at."""
        return any(point.step == step for point in self.points)

    def with_point(self, point: Point) -> "Curve":
        """One more look."""
        return Curve((*self.points, point))

    def lost_prompt(self, point: Point) -> bool:
        """Whether the adapter no longer does what the prompt asks, as far as the base ever did."""
        base = self.points[0].contrast
        return base >= MEASURABLE_CONTRAST and point.contrast < KEPT_CONTRAST * base

    def score(self, point: Point) -> float:
        """Likeness; what copies or lost its prompt comes after everything else."""
        return point.likeness - (point.copies > 0 or self.lost_prompt(point))

    @property
    def peak(self) -> Point | None:
        """The most alike so far; the base itself is none."""
        trained = [point for point in self.points if point.step > 0]
        return max(trained, key=self.score, default=None)

    @property
    def best(self) -> Point | None:
        """The state of the adapter to keep: the last that is not further below the peak than a look errs."""
        if self.peak is None:
            return None
        least = round(self.score(self.peak) - NOISE, 4)
        return [point for point in self.points if point.step > 0 and self.score(point) >= least][-1]

    def should_stop(self, total_steps: int) -> bool:
        """Whether likeness rose, and has not for some looks. One that never rose gets all its steps."""
        peak = self.peak
        if peak is None or peak.likeness < SAME_PERSON or self.points[-1].step < LEAST_SHARE * total_steps:
            return False
        return sum(point.step > peak.step for point in self.points) >= PATIENCE

    def to_json(self) -> list[dict[str, Any]]:
        """For checkpoints and reports."""
        return [{**asdict(point), "each": list(point.each)} for point in self.points]

    @classmethod
    def from_json(cls, values: Sequence[dict[str, Any]]) -> "Curve":
        """Inverse of `to_json`."""
        return cls(tuple(Point(**{**value, "each": tuple(value["each"])}) for value in values))


def interval(total_steps: int, batch_size: int, pictures: int, picture_steps: int) -> int:
    """Training steps between two looks, when a look draws so many pictures of so many denoising steps at the
    size of the training's own pictures."""
    affordable = math.ceil(pictures * picture_steps / (SHARE * FORWARDS_A_STEP * batch_size))
    return max(1, min(max(affordable, math.ceil(total_steps / MAX_LOOKS)), total_steps))
