"""A product with its branch is the sum of both, forwards and backwards, and in float8 as near as that is."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.branch_products import branched, branched_activated, branched_apart
from engine.float8 import FrozenFloat8Linear

RANK = 4


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linear(inputs: int, outputs: int, seed: int) -> nn.Linear:
    made = nn.Linear(inputs, outputs).requires_grad_(False)
    made.weight.data, made.bias.data = (
        drawn(outputs, inputs, seed=seed) / inputs**0.5,
        drawn(outputs, seed=seed + 1),
    )
    return made


def branch(inputs: int, outputs: int, seed: int) -> list[Tensor]:
    return [
        (each / 4).requires_grad_()
        for each in (drawn(RANK, inputs, seed=seed), drawn(outputs, RANK, seed=seed))
    ]


def plainly(layer: nn.Linear, down: Tensor, up: Tensor, rows: Tensor) -> Tensor:
    return layer(rows) + rows @ down.t() @ up.t()


def gradients(made: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(made.square().sum(), leaves))


def relative(made: Tensor, wanted: Tensor) -> float:
    return float((made - wanted).detach().norm() / wanted.detach().norm())


@pytest.mark.parametrize(("fp8", "error"), [(False, 1e-5), (True, 0.1)])
def test_one_product_and_its_gradients(fp8: bool, error: float) -> None:
    whole, (down, up), rows = linear(48, 64, 1), branch(48, 64, 3), drawn(2, 5, 48).requires_grad_()
    layer = FrozenFloat8Linear(whole) if fp8 else whole
    made, wanted = branched(layer, down, up, rows), plainly(whole, down, up, rows)
    assert made.shape == wanted.shape
    assert relative(made, wanted) < error
    leaves = [rows, down, up]
    for mine, theirs in zip(gradients(made, leaves), gradients(wanted, leaves), strict=True):
        assert relative(mine, theirs) < 2 * error


def test_two_products_with_gelu_between_have_the_gradients_of_both() -> None:
    """As a single block has them: of what the first makes, some goes to the second by way of others."""
    first, second = linear(48, 32 + 64, 1), linear(32 + 64, 48, 2)
    branches, rows = [*branch(48, 96, 3), *branch(96, 48, 4)], drawn(2, 5, 48).requires_grad_()

    def ours() -> Tensor:
        plain, raw = branched_apart(FrozenFloat8Linear(first), *branches[:2], rows, 64)
        return branched_activated(FrozenFloat8Linear(second), *branches[2:], plain.sin(), raw)

    def theirs() -> Tensor:
        plain, raw = plainly(first, *branches[:2], rows).split([32, 64], dim=-1)
        active = functional.gelu(raw, approximate="tanh")
        return plainly(second, *branches[2:], torch.cat([plain.sin(), active], dim=-1))

    made, wanted = ours(), theirs()
    assert relative(made, wanted) < 0.1
    leaves = [rows, *branches]
    for mine, exact in zip(gradients(made, leaves), gradients(wanted, leaves), strict=True):
        assert relative(mine, exact) < 0.15


def test_all_of_a_product_may_be_raw() -> None:
    """As in a feed-forward by itself."""
    first, second = linear(48, 64, 1), linear(64, 48, 2)
    branches, rows = [*branch(48, 64, 3), *branch(64, 48, 4)], drawn(7, 48).requires_grad_()
    plain, raw = branched_apart(FrozenFloat8Linear(first), *branches[:2], rows, 64)
    assert plain.shape == (7, 0)
    made = branched_activated(FrozenFloat8Linear(second), *branches[2:], None, raw)
    active = functional.gelu(plainly(first, *branches[:2], rows), approximate="tanh")
    wanted = plainly(second, *branches[2:], active)
    leaves = [rows, *branches]
    for mine, exact in zip(gradients(made, leaves), gradients(wanted, leaves), strict=True):
        assert relative(mine, exact) < 0.15
