"""Muon for many matrices at once."""

import torch
from torch import nn

from engine.demo_base.optimizers import Muon


def test_it_moves_as_the_library_s_own() -> None:
    torch.manual_seed(0)
    shapes = [(12, 8), (8, 12), (12, 8), (6, 6)]
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(matrix.detach().clone()) for matrix in ours]
    mine = Muon(ours, lr=0.01, weight_decay=0.02)
    reference = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.02, adjust_lr_fn="match_rms_adamw")
    before = [matrix.detach().clone() for matrix in ours]
    for _ in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        mine.step()
        reference.step()
    for one, other, old in zip(ours, theirs, before, strict=True):
        moved = (other - old).norm()
        assert (one - other).norm() < 0.02 * moved  # both round to bfloat16, in another order
