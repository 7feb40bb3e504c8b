"""A frozen linear with a low-rank branch beside it: what an adapter is while it trains."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# One product for what an attention makes of the same input: larger products use the GPU better.
FUSED = {
    "to_qkv": ("to_q", "to_k", "to_v"),
    "to_added_qkv": ("add_q_proj", "add_k_proj", "add_v_proj"),
}


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


class FusedBranch(nn.Module):
    """Frozen linears of one input as one product, each with a branch of its own: the outputs of all, one
    after another. The branches are one too, with the Bs along a diagonal."""

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        """The linears' weights become views of the one that is computed with: no memory is added."""
        super().__init__()
        self.base_layer: Any = joined(linears)
        device, count = self.base_layer.weight.device, len(linears)
        self.lora_A = nn.ParameterList(torch.empty(0, device=device) for _ in range(count))
        self.lora_B = nn.ParameterList(torch.empty(0, device=device) for _ in range(count))
        self.enabled = False

    def forward(self, input: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs of all)."""
        made: Tensor = self.base_layer(input)
        if not self.enabled:
            return made
        rank, last = len(self.lora_A[0]), len(self.lora_A) - 1
        down = torch.cat([each.to(input.dtype) for each in self.lora_A])
        up = torch.cat(
            [
                functional.pad(each.to(input.dtype), (place * rank, (last - place) * rank))
                for place, each in enumerate(self.lora_B)
            ]
        )
        return made + functional.linear(functional.linear(input, down), up)


def joined(linears: Sequence[nn.Linear]) -> nn.Linear:
    """One linear for several of the same input. Their weights become views of its own."""
    weight = torch.cat([linear.weight.detach() for linear in linears])
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    made.weight = nn.Parameter(weight, requires_grad=False)
    if linears[0].bias is not None:
        made.bias = nn.Parameter(torch.cat([each.bias.detach() for each in linears]), requires_grad=False)
    parts = torch.split(weight, [len(each.weight) for each in linears])
    for linear, rows in zip(linears, parts, strict=True):
        linear.weight.data = rows
    return made
