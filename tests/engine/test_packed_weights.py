"""Packed weights come back within the rounding of their format, element by element."""

import pytest
import torch

from engine.packed_weights import FP8, NF4, PACKINGS


def weight(dtype: torch.dtype = torch.float32, shape: tuple[int, int] = (24, 200)) -> torch.Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(4)) * 0.02
    made[3] *= 50  # rows of very different sizes, as a trained base has them
    made[5] = 0
    return made.to(dtype)


def test_fp8_is_within_half_a_unit_of_its_last_bit_with_a_scale_for_each_output() -> None:
    one = weight()
    values, scale = PACKINGS["fp8"].pack(one)
    assert (values.dtype, values.shape, scale.shape) == (FP8, one.shape, (24, 1))
    back = PACKINGS["fp8"].unpack([values, scale], torch.float32, (24, 200))
    # Three bits after the point: 2^-4 of the value, and 2^-10 of the scale below the smallest normal one.
    assert bool(((back - one).abs() <= one.abs() / 16 * 1.001 + scale * 2**-10).all())
    assert torch.equal(back[5], one[5])
    assert torch.allclose(back.abs().amax(1), one.abs().amax(1))


@pytest.mark.parametrize("shape", [(24, 200), (3, 5), (64, 64)])
def test_int4_takes_the_nearest_of_sixteen_values_with_a_scale_for_each_64(shape: tuple[int, int]) -> None:
    one = torch.randn(shape, generator=torch.Generator().manual_seed(4))
    codes, scale = PACKINGS["int4"].pack(one)
    groups = -(-one.numel() // 64)
    assert (codes.dtype, codes.numel(), scale.numel()) == (torch.uint8, groups * 32, groups)
    back = PACKINGS["int4"].unpack([codes, scale], torch.float32, shape)
    for index, value in enumerate(one.flatten().tolist()):
        group = one.flatten()[index // 64 * 64 : index // 64 * 64 + 64]
        most = float(group.abs().max())
        nearest = min((level * most for level in NF4), key=lambda level: abs(level - value))
        assert float(back.flatten()[index]) == pytest.approx(nearest, abs=1e-6)


@pytest.mark.parametrize("kind", ["fp8", "int4"])
def test_in_bfloat16_too_and_nothing_overflows(kind: str) -> None:
    one = weight(torch.bfloat16, (24, 192)) * 1000
    back = PACKINGS[kind].unpack(PACKINGS[kind].pack(one), torch.bfloat16, (24, 192))
    assert back.dtype == torch.bfloat16
    assert bool(torch.isfinite(back).all())
    rows = one.float().norm(dim=1) > 0
    errors = ((back - one).float().norm(dim=1) / one.float().norm(dim=1))[rows]
    assert float(errors.max()) < {"fp8": 0.04, "int4": 0.15}[kind]


def test_as_they_came_is_the_very_weight() -> None:
    one = weight()
    assert PACKINGS["bf16"].pack(one)[0] is one
    assert PACKINGS["bf16"].unpack([one], torch.float32, (24, 200)) is one
