"""A frozen linear with a low-rank branch beside it: what an adapter is while it trains."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Branch(nn.Module):
    """base_layer(x) + B A x, with A of (rank, inputs) and B of (outputs, rank). As alpha = rank,
    the scale is 1.

    A and B stay in their own type, float32 in training; the products are in the input's, so that a bfloat16
    base need not convert its activations. Plain enough to be compiled with the block around it.
    """

    def __init__(self, base_layer: nn.Linear) -> None:
        """Nothing is beside it yet; `enabled` says whether the branch takes part."""
        super().__init__()
        self.base_layer: Any = base_layer
        device = base_layer.weight.device
        self.lora_A = nn.Parameter(torch.empty(0, device=device))
        self.lora_B = nn.Parameter(torch.empty(0, device=device))
        self.enabled = False

    def forward(self, input: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        made: Tensor = self.base_layer(input)
        if not self.enabled:
            return made
        down, up = self.lora_A.to(input.dtype), self.lora_B.to(input.dtype)
        return made + functional.linear(functional.linear(input, down), up)
