"""What a card's memory allows: where everything lives, how weights are kept, and what a job may give up.

Decides, moves nothing; knows no tensor. A base smaller than FLUX.1-dev needs less in proportion.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# Of FLUX.1-dev's transformer in bfloat16: 11.9e9 weights. Its text encoders add 9,700 MiB, its VAE 160.
FLUX_MIB = 22_700
AUTO, CPU = "auto", "cpu"


@dataclass(frozen=True)
class Tier:
    """A plan for one card.

    least_mib: the smallest card that it is made for, with FLUX.1-dev.
    weights: of the transformer's linears, see `engine.memory`.
    merged: whether drawing has serving weights of its own with the adapter in them; else it is a branch.
    recompute: whether training makes activations again that there is no room for.
    offload_blocks: so many blocks' weights wait in the host's memory.
    encoder_by_layer: whether T5's layers wait there too, and come one by one.
    device_mib, host_mib: most that adapters at hand may take.
    """

    name: str
    least_mib: int
    weights: Literal["bf16", "fp8", "int4"]
    merged: bool
    recompute: bool
    offload_blocks: int
    encoder_by_layer: bool
    device_mib: int
    host_mib: int

    def __str__(self) -> str:
        """For the operator."""
        weights = {"bf16": "16-bit", "fp8": "8-bit", "int4": "4-bit"}[self.weights]
        parts = [
            f"{self.name}: {weights} weights",
            "adapters merged" if self.merged else "adapters as branches",
            "training keeps what activations fit" if self.recompute else "training keeps activations",
        ]
        if self.offload_blocks:
            parts.append(f"{self.offload_blocks} blocks wait in the host's memory")
        if self.encoder_by_layer:
            parts.append("the text encoder waits in the host's memory")
        return ", ".join([*parts, f"{self.device_mib} MiB for adapters at hand"])


# From the roomiest down. FLUX.1-dev: 80gb holds transformer and encoders (33 GB), serving weights (17 GB)
# and a training's activations (6 GB at 512 px, 23 at 1024); 48gb the first and what activations fit; 24gb
# 12 GB of weights; 16gb half of those, as 4 bits would take, but with 8 a step is nearly twice as fast and
# rounds less (benchmarks/results/flux_training.md); 12gb 4 GB.
TIERS = (
    Tier("80gb", 76_000, "bf16", True, False, 0, False, 4096, 16_384),
    Tier("48gb", 44_000, "bf16", False, True, 0, False, 2048, 16_384),
    Tier("24gb", 22_000, "fp8", False, True, 0, True, 512, 8192),
    Tier("16gb", 15_000, "fp8", False, True, 28, True, 256, 8192),
    Tier("12gb", 0, "int4", False, True, 28, True, 128, 8192),
)
# The small bases run on it, and have room.
CPU_TIER = Tier(CPU, 0, "bf16", True, False, 0, False, 1024, 0)
NAMES = (AUTO, *(tier.name for tier in TIERS))


def tier_for(wanted: str, device_type: str, card_mib: int, base_mib: int) -> Tier:
    """The tier of that name, or by the card's whole memory and the size of the base's transformer in 16 bits.

    Raises ValueError for an unknown name.
    """
    if wanted != AUTO:
        for tier in TIERS:
            if tier.name == wanted:
                return tier
        raise ValueError(f"memory_tier must be one of {', '.join(NAMES)}, not {wanted!r}")
    if device_type == CPU:
        return CPU_TIER
    share = min(1.0, base_mib / FLUX_MIB)
    return next(tier for tier in TIERS if card_mib >= tier.least_mib * share)


# With training in float8 its weights (17 GB of FLUX.1-dev) and those that adapters are merged from stay: at
# 768 px an 80 GB card ran out of memory.
FLOAT8_TRAINING_MIB = 100_000


@dataclass(frozen=True)
class Float8Use:
    """Where products with frozen weights are computed in float8, see `engine.float8`."""

    drawing: bool
    training: bool

    def __str__(self) -> str:
        """For the operator; nothing where there is none."""
        where = [name for name, used in vars(self).items() if used]
        return f"{' and '.join(where)} in float8" if where else ""


def float8_for(wanted: str, tier: Tier, merged: bool, card_mib: int, base_mib: int) -> Float8Use:
    """wanted: on, off, or auto: drawing on every GPU with serving weights, and training where there is the
    room. merged: whether there are serving weights; else drawing is done with what trains. card_mib: 0 where
    there is no GPU: nothing is gained there. See `tier_for`."""
    share = min(1.0, base_mib / FLUX_MIB)
    roomy = card_mib >= FLOAT8_TRAINING_MIB * share
    drawing = tier.weights == "bf16" and (wanted == "on" or (wanted == AUTO and card_mib > 0))
    training = drawing and (wanted == "on" or roomy)
    return Float8Use(drawing if merged else training, training)


def is_merged(wanted: str, tier: Tier) -> bool:
    """Whether drawing has serving weights. wanted: auto, on or off."""
    return tier.merged if wanted == AUTO else wanted == "on" and tier.weights == "bf16"


# Packed weights cannot be written to, compiled, or multiplied as they are.
_OF_WHOLE_WEIGHTS = ("merge", "compile", "fp8")


def without_effect(tier: Tier, wanted: Mapping[str, str]) -> list[str]:
    """The settings that are on and can do nothing there. wanted: auto, on or off, by setting."""
    return [name for name in _OF_WHOLE_WEIGHTS if wanted[name] == "on" and tier.weights != "bf16"]


@dataclass(frozen=True)
class Allowance:
    """What a job may use. merged, recompute: see `Tier`. at_hand: whether memory may be kept for speed alone,
    as adapters and activations are, and what the allocator holds back."""

    merged: bool
    recompute: bool
    at_hand: bool = True

    @classmethod
    def of(cls, tier: Tier) -> "Allowance":
        """All that the tier gives."""
        return cls(tier.merged, tier.recompute)

    def less(self) -> "Allowance | None":
        """A step down for a job that ran out of memory: what smaller tiers do and can be done without loading
        the base again. None where nothing is left to give up."""
        thrifty = Allowance(merged=False, recompute=True, at_hand=False)
        return None if self == thrifty else thrifty
