"""How a frozen transformer is made to fit: smaller weights, recomputed activations, blocks on the host.

Knows no card and no tier: a `MemoryPlan` says what is to be done, whoever knows the card chooses it. A LoRA
branch may be attached before or after; it stays in its own type.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.host_blocks import Conveyor, Crate
from engine.packed_weights import PACKINGS, Weights
from engine.recompute import GpuMemory, KeptWhileThereIsRoom, again

Recompute = Literal["none", "some", "all"]

BLOCK_LISTS = ("transformer_blocks", "single_transformer_blocks")


@dataclass(frozen=True)
class MemoryPlan:
    """weights: how the linears of the blocks are stored, nearly all of FLUX: bf16 = as they came, fp8 = one
        byte each, int4 = about half a byte.
    recompute: which blocks' activations are made again for the gradient instead of kept: those that there is
        no room for are some.
    offload_blocks: how many blocks' weights stay in the host's memory and are brought when they are due;
        evenly spread, so that one is on its way while the others compute.
    """

    weights: Weights = "bf16"
    recompute: Recompute = "none"
    offload_blocks: int = 0

    def __post_init__(self) -> None:
        if self.weights not in PACKINGS:
            raise ValueError(f"weights must be one of {', '.join(PACKINGS)}, not {self.weights!r}")
        if self.offload_blocks < 0:
            raise ValueError("offload_blocks must be 0 or more")


def shrink(transformer: Any, plan: MemoryPlan, device: torch.device | None = None) -> None:
    """Change a frozen `FluxTransformer2DModel` in place, and bring it to `device` (None = where it is).

    One that is too large for the device comes from the host's memory, a linear at a time. Once only: weights
    that were packed are not unpacked again. `recompute` alone may be switched later.
    """
    target = device or next(transformer.parameters()).device
    _recompute(transformer, plan.recompute, target)
    blocks = [block for name in BLOCK_LISTS for block in getattr(transformer, name).children()]
    waiting = _spread(plan.offload_blocks, len(blocks))
    conveyor = Conveyor(target)
    for index, block in enumerate(blocks):
        if plan.weights == "bf16" and index not in waiting:
            continue
        crate = conveyor.crate() if index in waiting else None
        for parent, name, linear in _linears(block):
            setattr(parent, name, FrozenLinear(linear, plan.weights, target, crate))
        if crate is not None:
            crate.close()
    transformer.to(target)


class FrozenLinear(nn.Linear):
    """A linear whose weight is stored in parts, here or in a crate on the host, and made for each use.

    Nothing of it is kept for the gradient but the reference to this layer.
    """

    def __init__(
        self, linear: nn.Linear, weights: Weights, device: torch.device, crate: Crate | None
    ) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self._packing, self._crate = PACKINGS[weights], crate
        parts = self._packing.pack(linear.weight.detach().to(device))
        self._count = len(parts)
        self._place = crate.add(parts) if crate is not None else 0
        for index, part in enumerate(parts if crate is None else ()):
            self.register_buffer(f"part_{index}", part, persistent=False)
        # For libraries that ask a linear's weight for its type and device.
        probe = torch.full((1, 1), float("nan"), dtype=linear.weight.dtype, device=device)
        self.register_buffer("_probe", probe, persistent=False)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """Shape, type and device alone: its values are no numbers, and it cannot be written. See `dense`."""
        return self.get_buffer("_probe").expand(self.out_features, self.in_features)

    def dense(self, dtype: torch.dtype) -> Tensor:
        """The weight (outputs, inputs) as it is computed with. Not to be written to."""
        if self._crate is not None:
            parts = self._crate.get(self._place)
        else:
            parts = [self.get_buffer(f"part_{index}") for index in range(self._count)]
        return self._packing.unpack(parts, dtype, (self.out_features, self.in_features))

    def forward(self, input: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs) in the input's type."""
        made: Tensor = _FrozenProduct.apply(input, self)  # type: ignore[no-untyped-call]
        return made


class _FrozenProduct(torch.autograd.Function):
    """input @ weight' + bias, with a gradient for the input alone. Plain autograd would keep each weight that
    it was made from, in full, until the backward pass."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, layer: FrozenLinear) -> Tensor:
        ctx.layer = layer
        return functional.linear(input, layer.dense(input.dtype), layer.bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return gradient @ ctx.layer.dense(gradient.dtype), None


def _recompute(transformer: Any, wanted: Recompute, device: torch.device) -> None:
    if wanted == "none":
        transformer.disable_gradient_checkpointing()
    elif wanted == "some" and device.type == "cuda":
        transformer.enable_gradient_checkpointing(KeptWhileThereIsRoom(GpuMemory(device)))
    else:
        transformer.enable_gradient_checkpointing(again)


def _linears(block: nn.Module) -> list[tuple[nn.Module, str, nn.Linear]]:
    """Those to pack: (its parent, its name there, itself). Those of LoRA branches train."""
    return [
        (parent, name, child)
        for path, parent in block.named_modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
        and not isinstance(child, FrozenLinear)
        and not {"lora_A", "lora_B"} & set(path.split("."))
    ]


def _spread(count: int, total: int) -> Collection[int]:
    """So many of `total` indexes, evenly."""
    count = min(count, total)
    return {(2 * place + 1) * total // (2 * count) for place in range(count)}
