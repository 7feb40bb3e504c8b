"""Frozen linears with a low-rank branch beside them: what an adapter is while it trains."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.branch_products import branched, branched_activated, branched_apart
from engine.float8 import FrozenFloat8Linear
from engine.quantisation import Rounded


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


class LeanBranch(nn.Module):
    """Frozen linears of one input as one product, and their branches as one beside it, in as few kernels as
    can be: `engine.branch_products`.

    down: (all ranks, inputs), the As one below another. up: (all outputs, all ranks), the Bs along a
    diagonal. Both in the base's type: an adapter's float32 is rounded for all branches at once, see
    `engine.packing`.
    """

    reads_values = True  # beside rounded rows, for the branch

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        """The weights of several become views of the one that is computed with: no memory is added. Nothing
        is beside it yet; `enabled` says whether the branch takes part."""
        super().__init__()
        self.base_layer: Any = joined(linears) if len(linears) > 1 else linears[0]
        self.out_features: int = self.base_layer.out_features
        weight = linears[0].weight
        self.down = nn.Parameter(torch.empty(0, dtype=weight.dtype, device=weight.device))
        self.up = nn.Parameter(torch.empty(0, dtype=weight.dtype, device=weight.device))
        self.enabled = False

    @property
    def in_float8(self) -> bool:
        """Whether it takes rounded rows, and `apart` and `activated` may be asked."""
        return self.enabled and isinstance(self.base_layer, FrozenFloat8Linear)

    def forward(self, input: Tensor | Rounded) -> Tensor:
        """(..., inputs) -> (..., outputs of all, one after another)."""
        if not self.enabled:
            made: Tensor = self.base_layer(input)
            return made
        return branched(self.base_layer, self.down, self.up, input)

    def apart(self, input: Tensor | Rounded, raw_width: int) -> tuple[Tensor, Tensor]:
        """Its outputs, the last `raw_width` apart, of which somebody's `activated` takes the GELU."""
        return branched_apart(self.base_layer, self.down, self.up, input, raw_width)

    def activated(self, left: Tensor | None, raw: Tensor) -> Tensor:
        """Of [left | GELU(raw)]. raw: what `apart` gave, and nobody else's."""
        return branched_activated(self.base_layer, self.down, self.up, left, raw)


def joined(linears: Sequence[nn.Linear]) -> nn.Linear:
    """One linear for several of the same input. Their weights become views of its own."""
    weight = torch.cat([linear.weight.detach() for linear in linears])
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    made.weight = nn.Parameter(weight, requires_grad=False)
    made.register_parameter("bias", joined_bias(linears))
    parts = torch.split(weight, [len(each.weight) for each in linears])
    for linear, rows in zip(linears, parts, strict=True):
        linear.weight.data = rows
    return made


def joined_bias(linears: Sequence[nn.Linear]) -> nn.Parameter | None:
    """Of all, one after another; of one, its own."""
    if len(linears) == 1 or linears[0].bias is None:
        return linears[0].bias
    return nn.Parameter(torch.cat([each.bias.detach() for each in linears]), requires_grad=False)
