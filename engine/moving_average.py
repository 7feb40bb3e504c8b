"""The moving average of an adapter: steadier than any single step, and what is measured and saved."""

from collections.abc import Mapping

import torch
from torch import Tensor


class MovingAverage:
    """average <- d average + (1 - d) adapter after each step, with d rising to `decay` as (1 + n) / (10 + n),
    so that the first steps, which are hardly trained, are soon forgotten (TensorFlow's
    ExponentialMovingAverage with `num_updates`)."""

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        """Begins as a copy."""
        self._decay = decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    @torch.no_grad()
    def follow(self, tensors: Mapping[str, Tensor], steps_done: int) -> None:
        """Take in the adapter after so many steps."""
        decay = min(self._decay, (1 + steps_done) / (10 + steps_done))
        own = list(self.tensors.values())
        torch._foreach_lerp_(own, [tensors[name] for name in self.tensors], 1 - decay)
