"""Activations are kept while there is room, and made again where there is none; the gradient is the same."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from engine.lora import AdapterSlot
from engine.models import Base
from engine.recompute import RESERVE_MIB, KeptWhileThereIsRoom
from tests.engine.test_memory import adapter, fresh, gradients, looked

__all__ = ["fresh"]

BLOCK = 500 << 20  # bytes that each block is said to keep


@dataclass
class FewGigabytes:
    """A card that says how much it has; each block takes some of it."""

    gib: float
    used: int = 0
    asked: list[int] = field(default_factory=list)

    def room(self) -> int:
        self.asked.append(self.used)
        return int(self.gib * (1 << 30)) - self.used

    def taken(self) -> int:
        return self.used


def watched(base: Base, memory: FewGigabytes) -> Counter[int]:
    """How often each block computes from now on."""
    passes = Counter[int]()
    blocks = [*base.transformer.transformer_blocks.children()]
    blocks += [*base.transformer.single_transformer_blocks.children()]
    for place, block in enumerate(blocks):
        passes[place] = 0

        def begun(_module: Any, _given: Any, place: int = place) -> None:
            passes[place] += 1
            memory.used += BLOCK

        block.register_forward_pre_hook(begun)
    base.transformer.enable_gradient_checkpointing(KeptWhileThereIsRoom(memory))
    return passes


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize(("gib", "kept"), [(1, 0), (RESERVE_MIB / 1024 + 3.2, 4), (100, 99)])
def test_as_many_blocks_are_kept_as_there_is_room_for(
    fresh: Callable[[], Base], lean: bool, gib: float, kept: int
) -> None:
    base = fresh()
    slot, memory = AdapterSlot(base.transformer, lean=lean), FewGigabytes(gib)
    wanted, passes = gradients(base, slot), watched(base, memory)
    made = gradients(base, slot)
    total = len(passes)
    assert list(passes.values()) == [1] * min(kept, total) + [2] * (total - min(kept, total))
    assert all(torch.equal(mine, exact) for mine, exact in zip(made, wanted, strict=True))


def test_without_gradients_nothing_is_decided(fresh: Callable[[], Base]) -> None:
    base = fresh()
    slot, memory = AdapterSlot(base.transformer), FewGigabytes(0.0)
    passes = watched(base, memory)
    with torch.no_grad(), slot.holding(adapter(slot, base)):
        looked(base)
    assert set(passes.values()) == {1}
    assert not memory.asked
