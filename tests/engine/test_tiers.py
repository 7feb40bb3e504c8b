"""The plan for a card: what fits is used, what is asked for is obeyed, and a job can step down once."""

import subprocess
import sys
from itertools import pairwise

import pytest

from engine.tiers import (
    CPU_TIER,
    FLUX_MIB,
    NAMES,
    TIERS,
    Allowance,
    Float8Use,
    Tier,
    float8_for,
    tier_for,
    without_effect,
)

# As the driver reports them.
CARDS = {"H200": 143_771, "H100": 81_559, "A100 80": 81_920, "L40S": 46_068, "4090": 24_564, "5080": 16_303}


@pytest.mark.parametrize(
    ("card", "name"),
    [
        ("H200", "80gb"), ("H100", "80gb"), ("A100 80", "80gb"), ("L40S", "48gb"), ("4090", "24gb"),
        ("5080", "16gb"),
    ],
)  # fmt: skip
def test_each_card_has_its_tier(card: str, name: str) -> None:
    assert tier_for("auto", "cuda", CARDS[card], FLUX_MIB).name == name


def test_a_card_that_is_too_small_for_all_gets_the_last() -> None:
    assert tier_for("auto", "cuda", 8000, FLUX_MIB) is TIERS[-1]


def test_a_small_base_has_room_on_any_card() -> None:
    assert tier_for("auto", "cuda", 8000, 100) is TIERS[0]
    assert tier_for("auto", "cuda", CARDS["4090"], FLUX_MIB // 3).name == "48gb"


def test_a_cpu_has_its_own() -> None:
    assert tier_for("auto", "cpu", 64_000, FLUX_MIB) is CPU_TIER


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
def test_a_tier_can_be_forced_on_any_device(tier) -> None:
    assert tier_for(tier.name, "cuda", 8000, FLUX_MIB) is tier
    assert tier_for(tier.name, "cpu", 8000, 100) is tier


def test_an_unknown_tier_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=", ".join(NAMES)):
        tier_for("huge", "cuda", 80_000, FLUX_MIB)


@pytest.mark.parametrize(
    ("wanted", "card_mib", "merged", "drawing", "training"),
    [
        ("auto", 81_000, True, True, False),
        ("auto", 143_000, True, True, True),
        ("auto", 81_000, False, False, False),
        ("on", 81_000, False, True, True),
        ("off", 143_000, True, False, False),
        ("auto", 0, True, False, False),
        ("on", 0, True, True, True),
    ],
)
def test_float8_draws_where_weights_serve_and_trains_where_there_is_room(
    wanted: str, card_mib: int, merged: bool, drawing: bool, training: bool
) -> None:
    assert float8_for(wanted, TIERS[0], merged, card_mib, FLUX_MIB) == Float8Use(drawing, training)
    packed = next(tier for tier in TIERS if tier.weights == "fp8")
    assert float8_for(wanted, packed, merged, card_mib, FLUX_MIB) == Float8Use(False, False)


def test_each_tier_needs_no_more_than_the_one_above() -> None:
    for upper, lower in pairwise(TIERS):
        assert upper.least_mib > lower.least_mib
        assert upper.device_mib > lower.device_mib
        assert upper.merged >= lower.merged
        assert upper.recompute <= lower.recompute
        assert upper.encoder_by_layer <= lower.encoder_by_layer
        assert weights_mib(upper) >= weights_mib(lower)


def weights_mib(tier: Tier) -> float:
    """Of FLUX.1-dev's on the card: nearly all of them are in its 57 blocks."""
    bits = {"bf16": 16, "fp8": 8, "int4": 4.25}[tier.weights]
    return FLUX_MIB * bits / 16 * (1 - tier.offload_blocks / 57)


def test_half_of_a_small_card_is_left_for_a_training() -> None:
    """Measured beside the weights: 4 GiB for a training at 1024 px."""
    for tier in TIERS[2:4]:
        assert weights_mib(tier) < 0.55 * tier.least_mib


def test_merging_needs_whole_weights() -> None:
    assert all(tier.weights == "bf16" for tier in (*TIERS, CPU_TIER) if tier.merged)


@pytest.mark.parametrize("tier", (*TIERS, CPU_TIER), ids=lambda tier: tier.name)
def test_what_is_switched_on_in_vain_is_known(tier) -> None:
    packed = tier.weights != "bf16"
    assert packed or not tier.offload_blocks
    settings = {"merge": "on", "compile": "on", "fp8": "on", "cuda_graphs": "auto"}
    assert without_effect(tier, settings) == (["merge", "compile", "fp8"] if packed else [])
    assert without_effect(tier, settings | {"merge": "auto", "compile": "off"}) == ["fp8"] * packed


def test_it_says_what_it_does() -> None:
    assert str(TIERS[0]).startswith("80gb: 16-bit weights, adapters merged, training keeps activations")
    assert "28 blocks wait" in str(TIERS[-1])
    assert "text encoder waits" in str(TIERS[2])


@pytest.mark.parametrize("tier", (*TIERS, CPU_TIER), ids=lambda tier: tier.name)
def test_every_job_can_step_down_once(tier) -> None:
    full = Allowance.of(tier)
    less = full.less()
    assert less is not None
    assert not less.merged
    assert less.recompute
    assert less.less() is None


def test_the_policy_needs_no_torch() -> None:
    code = "import sys, engine.tiers, engine.scheduler; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
