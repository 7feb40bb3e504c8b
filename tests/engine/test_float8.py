"""Products in float8: as near as 3 bits of mantissa allow, forwards and backwards, at addresses that stay."""

import pytest
import torch
from torch import nn

from engine.float8 import Float8Linear, FrozenFloat8Linear, fits, float8_product
from engine.quantisation import LARGEST, quantised


@pytest.fixture
def linear() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(64, 96).requires_grad_(False)


def relative(made: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((made - wanted).norm() / wanted.norm())


def test_each_row_has_its_own_scale_and_uses_the_whole_range() -> None:
    rows = torch.randn(3, 64) * torch.tensor([[1e-4], [1.0], [3e4]])
    values, scale = quantised(rows)
    assert torch.equal(values.float().abs().amax(dim=1), torch.full((3,), LARGEST))
    error = (values.float() * scale - rows).abs()
    assert bool((error <= rows.abs() * 2**-4 + scale * 2**-9).all()), "half a step of 3 bits of mantissa"


def test_a_row_of_zeros_stays_one() -> None:
    values, scale = quantised(torch.zeros(2, 16))
    assert not (values.float() * scale).any()


def test_a_product_is_near_whatever_the_shape(linear: nn.Linear) -> None:
    values, scale = quantised(linear.weight)
    for shape in ((5, 64), (2, 7, 64)):
        rows = torch.randn(shape)
        made = float8_product(rows, None, values, scale, None)
        assert made.dtype == rows.dtype
        assert 0 < relative(made, rows @ linear.weight.t()) < 0.06


def test_it_draws_with_what_was_written_last(linear: nn.Linear) -> None:
    layer = Float8Linear(96, 64, linear.bias, torch.device("cpu"))
    layer.write(0, linear.weight)
    rows, before = torch.randn(5, 64), layer.weight.data_ptr()
    assert relative(layer(rows), linear(rows)) < 0.06
    layer.write(32, -linear.weight[32:64])
    wanted = linear(rows)
    wanted[:, 32:64] = (-(rows @ linear.weight.t()) + linear.bias)[:, 32:64]
    assert relative(layer(rows), wanted) < 0.06
    assert layer.weight.data_ptr() == before


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("with_left", [True, False])
def test_what_is_compiled_is_what_is_not(linear: nn.Linear, biased: bool, with_left: bool) -> None:
    """It is scaled elsewhere."""
    layer = Float8Linear(96, 64, linear.bias if biased else None, torch.device("cpu"))
    layer.write(0, linear.weight * torch.linspace(0.01, 100, 96)[:, None])
    raw = torch.randn(2, 7, 32 if with_left else 64) * torch.tensor([0.01, 100])[:, None, None]
    left = torch.randn(2, 7, 32) if with_left else None
    plain = layer.activated(left, raw)
    made = torch.compile(layer.activated, backend="eager", fullgraph=True)(left, raw)
    assert made.shape == plain.shape
    assert made.dtype == plain.dtype
    assert relative(made, plain) < 0.004, "each is rounded to bfloat16 once"


def test_the_gradient_of_the_input_is_near_and_the_weight_has_none(linear: nn.Linear) -> None:
    frozen = FrozenFloat8Linear(linear)
    rows, other = (torch.randn(5, 64, generator=torch.Generator().manual_seed(2)) for _ in range(2))
    rows.requires_grad_(True)
    other.requires_grad_(True)
    frozen(rows).square().sum().backward()
    linear(other).square().sum().backward()
    assert relative(rows.grad, other.grad) < 0.1
    assert not list(frozen.parameters()) or not any(each.requires_grad for each in frozen.parameters())


def test_what_the_kernel_cannot_take_is_known() -> None:
    assert fits(nn.Linear(32, 48))
    assert not fits(nn.Linear(30, 48))
    assert not fits(nn.Linear(32, 47))
