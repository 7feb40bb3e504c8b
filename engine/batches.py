"""What one training step sees: which views, under which captions, at which noise. All of it drawn on the CPU
from one generator, so that it is the same on every device and can go on after a crash."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from engine import flow
from engine.dataset import Dataset, View
from engine.drawing import draw_index, draw_round
from engine.presets import Recipe
from engine.sigma_shift import SigmaShift


@dataclass(frozen=True)
class Draw:
    """One view of a step. caption: its key in `Dataset.texts`. sigma: (1,). noise: as the view's latents."""

    view: View
    caption: str
    sigma: Tensor
    noise: Tensor


class Batches:
    """Endless. `state` is all that what comes next depends on."""

    def __init__(
        self, dataset: Dataset, recipe: Recipe, shift: SigmaShift, generator: torch.Generator
    ) -> None:
        self._dataset, self._recipe, self._shift, self._generator = dataset, recipe, shift, generator
        self._order: list[str] = []  # the photos still to come in this round
        # What comes next, and the state before it.
        self._ahead = deque[tuple[list[Draw], tuple[list[str], Tensor]]]()

    @property
    def state(self) -> tuple[list[str], Tensor]:
        """The photos still to come in this round, and the generator's state; before what was drawn ahead."""
        return self._ahead[0][1] if self._ahead else self._state()

    def go_on(self, order: list[str], generator: Tensor) -> None:
        """From a `state`."""
        self._ahead.clear()
        self._order = list(order)
        self._generator.set_state(generator)

    def next(self) -> list[Draw]:
        """The next `batch_size` views."""
        self.draw_ahead(1)
        return self._ahead.popleft()[0]

    def draw_ahead(self, steps: int) -> list[Draw]:
        """What `next` will give so many times, while a GPU is busy with something else."""
        while len(self._ahead) < steps:
            before = self._state()
            self._ahead.append(([self._draw() for _ in range(self._recipe.batch_size)], before))
        return [draw for draws, _ in islice(self._ahead, steps) for draw in draws]

    def _state(self) -> tuple[list[str], Tensor]:
        return list(self._order), self._generator.get_state()

    def _draw(self) -> Draw:
        view, caption = self._view()
        tokens = len(view.latents)
        return Draw(
            view,
            caption,
            flow.training_sigmas(1, self._shift.mu(tokens), self._generator),
            torch.randn(view.latents.shape, generator=self._generator),
        )

    def _view(self) -> tuple[View, str]:
        if self._dataset.prior and self._happens(self._recipe.prior_share):
            view = self._dataset.prior[draw_index([1.0] * len(self._dataset.prior), self._generator)]
            return view, view.caption
        if not self._order:
            self._order = draw_round(self._dataset.keys, self._dataset.weights, self._generator)
        views = self._dataset.photos[self._order.pop(0)].views
        view = views[draw_index([view.share for view in views], self._generator)]
        dropped = self._happens(self._recipe.caption_dropout)
        return view, self._dataset.plain if dropped else view.caption

    def _happens(self, chance: float) -> bool:
        return float(torch.rand(1, generator=self._generator)) < chance


def by_shape(draws: Sequence[Draw]) -> list[list[Draw]]:
    """Draws that fit into one tensor, together; groups in the order of their first draw."""
    groups: dict[tuple[int, int], list[Draw]] = {}
    for draw in draws:
        groups.setdefault((draw.view.rows, draw.view.columns), []).append(draw)
    return list(groups.values())
