"""Muon for the matrices of attention and feed-forward, AdamW for the rest, by a plan in wall-clock time."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration that makes a matrix nearly orthogonal (Jordan et al. 2024)."""
NEWTON_SCHULZ_STEPS = 5


class Muon(torch.optim.Optimizer):
    """Jordan et al. 2024 at AdamW's scale (2502.16982): the same numbers as `torch.optim.Muon`, but matrices
    of one shape take their step together, which a model of many small ones needs to keep a GPU busy."""

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float = 0.02,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of every matrix that has a gradient."""
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    shapes[(matrix.shape[0], matrix.shape[1])].append(matrix)
            for shape, matrices in shapes.items():
                self._move(matrices, shape, group)

    def _move(self, matrices: list[nn.Parameter], shape: tuple[int, int], group: dict[str, Any]) -> None:
        for matrix in matrices:
            if "momentum" not in self.state[matrix]:
                self.state[matrix]["momentum"] = torch.zeros_like(matrix)
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        averages = [self.state[matrix]["momentum"] for matrix in matrices]
        torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
        looking_ahead = torch._foreach_lerp(gradients, averages, group["momentum"])
        updates = orthogonal(torch.stack(list(looking_ahead)))
        weights: list[Tensor] = [*matrices]
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        rate = group["lr"] * 0.2 * max(shape) ** 0.5
        torch._foreach_add_(weights, list(updates.to(weights[0].dtype).unbind()), alpha=-rate)


def orthogonal(matrices: Tensor) -> Tensor:
    """(n, rows, columns) -> the nearest orthogonal ones, roughly, in bfloat16."""
    a, b, c = NEWTON_SCHULZ
    x = matrices.to(torch.bfloat16)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def make_optimizers(trained: nn.ModuleList, rate: float, matrix_rate: float) -> list[torch.optim.Optimizer]:
    """`trained`: transformer first. What needs no gradient is left alone."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in trained.named_parameters():
        inside = name.startswith("0.") and "transformer_blocks" in name and ".norm" not in name
        (matrices if inside and parameter.dim() == 2 else rest).append(parameter)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.01),
        Muon(matrices, lr=matrix_rate),
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
