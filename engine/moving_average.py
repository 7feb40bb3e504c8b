"""The moving average of an adapter: steadier than any single step, and what is measured and saved."""

import torch
from torch import Tensor


class MovingAverage:
    """average <- d average + (1 - d) adapter after each step, with d rising to `decay` as (1 + n) / (10 + n),
    so that the first steps, which are hardly trained, are soon forgotten (TensorFlow's
    ExponentialMovingAverage with `num_updates`)."""

    def __init__(self, weights: Tensor, decay: float) -> None:
        """Begins as a copy."""
        self._decay = decay
        self.tensor = weights.detach().clone()

    @torch.no_grad()
    def follow(self, weights: Tensor, steps_done: int) -> None:
        """Take in the adapter after so many steps."""
        decay = min(self._decay, (1 + steps_done) / (10 + steps_done))
        self.tensor.lerp_(weights, 1 - decay)
