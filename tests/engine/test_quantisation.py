"""Rows in float8: as near as three bits of mantissa are, whatever a row's size."""

import torch

from engine.quantisation import LARGEST, LEAST_SCALE, quantised


def test_each_row_has_its_own_scale_and_is_as_near_as_float8_is() -> None:
    rows = torch.randn(6, 64, generator=torch.Generator().manual_seed(0))
    rows *= torch.tensor([1e-4, 1e-2, 1.0, 10.0, 1e3, 1e5])[:, None]
    numbers, scale = quantised(rows)
    assert (numbers.shape, scale.shape, scale.dtype) == (rows.shape, (6, 1), torch.float32)
    errors = (numbers.float() * scale - rows).norm(dim=1) / rows.norm(dim=1)
    assert 0 < float(errors.max()) < 0.04
    assert torch.equal(numbers.float().abs().amax(dim=1), torch.full((6,), LARGEST))


def test_a_row_of_nothing_stays_nothing() -> None:
    numbers, scale = quantised(torch.zeros(2, 16))
    assert not numbers.float().any()
    assert torch.equal(scale, torch.full((2, 1), LEAST_SCALE))
