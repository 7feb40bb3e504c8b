"""Muon for the matrices of attention and feed-forward, AdamW for the rest, by a plan in wall-clock time."""

import torch
from torch import nn


def make_optimizers(trained: nn.ModuleList, rate: float, matrix_rate: float) -> list[torch.optim.Optimizer]:
    """`trained`: transformer first. Muon as Jordan et al. 2024, at AdamW's scale (2502.16982)."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in trained.named_parameters():
        inside = name.startswith("0.") and "transformer_blocks" in name and ".norm" not in name
        (matrices if inside and parameter.dim() == 2 else rest).append(parameter)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.01),
        torch.optim.Muon(matrices, lr=matrix_rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def set_rates(
    optimizers: list[torch.optim.Optimizer], step: int, share: float, warmup_steps: int, decay_from: float
) -> None:
    """Linear warm-up in steps, then constant, then linear decay in time; `share` of the time is over."""
    warm = min(1.0, (step + 1) / warmup_steps)
    cool = 1.0 if share < decay_from else max(0.02, (1 - share) / (1 - decay_from))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * warm * cool
