"""A loaded base brought to its device as a tier says: what stays there, what waits on the host."""

from typing import Any

import torch
from torch import nn

from engine.memory import MemoryPlan, Recompute, shrink
from engine.tiers import Tier, tier_for

_MIB = 1 << 20


def tier_of(wanted: str, device: torch.device, transformer: nn.Module) -> Tier:
    """See `engine.tiers.tier_for`. Raises ValueError."""
    return tier_for(wanted, device.type, card_mib(device), base_mib(transformer))


def card_mib(device: torch.device) -> int:
    """A GPU's whole memory; 0 of anything else."""
    return torch.cuda.get_device_properties(device).total_memory // _MIB if device.type == "cuda" else 0


def device_id(device: torch.device) -> str:
    """A GPU's own, whatever else is visible."""
    if device.type != "cuda":
        return device.type
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def base_mib(transformer: nn.Module) -> int:
    """Of its weights in 16 bits."""
    return sum(each.numel() for each in transformer.parameters()) * 2 // _MIB


def plan_of(tier: Tier) -> MemoryPlan:
    """What it does to the transformer."""
    return MemoryPlan(tier.weights, "some" if tier.recompute else "none", tier.offload_blocks)


def settle(tier: Tier, device: torch.device, transformer: Any, t5: Any, *others: nn.Module) -> None:
    """Bring everything to the device, or as near to it as the tier allows. Once only."""
    shrink(transformer, plan_of(tier), device)
    for model in others:
        model.to(device)
    if tier.encoder_by_layer and device.type != "cpu":
        by_layer(t5, t5.encoder.block, device)
    else:
        t5.to(device)


def set_recompute(transformer: Any, wanted: Recompute) -> None:
    """Switch which blocks' activations are made again for the gradient."""
    shrink(transformer, MemoryPlan(recompute=wanted))


def by_layer(model: nn.Module, layers: nn.ModuleList, device: torch.device) -> None:
    """The layers' weights stay where they are; each is brought to the device while it computes. All else of
    the model is brought for good."""
    kept = {id(tensor) for tensor in layers.parameters()}
    for tensor in [*model.parameters(), *model.buffers()]:
        if id(tensor) not in kept:
            tensor.data = tensor.data.to(device)
    for layer in layers:
        home = [(tensor, tensor.data) for tensor in layer.parameters()]

        def bring(_module: nn.Module, _inputs: Any, home: Any = home) -> None:
            for tensor, data in home:
                tensor.data = data.to(device, copy=True)

        def leave(_module: nn.Module, _inputs: Any, _output: Any, home: Any = home) -> None:
            for tensor, data in home:
                tensor.data = data

        layer.register_forward_pre_hook(bring)
        layer.register_forward_hook(leave, always_call=True)
