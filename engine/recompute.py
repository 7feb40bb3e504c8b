"""Which blocks' activations are kept for the gradient and which are made again: kept while there is room."""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from engine.room import room

# Beside three blocks' activations: what the gradient needs where it is made, and others meanwhile.
RESERVE_MIB = 1536
_MIB = 1 << 20


class Memory(Protocol):
    """Of the device that is computed on."""

    def room(self) -> int:
        """Bytes that are left."""

    def taken(self) -> int:
        """Bytes that are in use."""


class GpuMemory:
    """`Memory` of a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def room(self) -> int:
        """See `Memory`."""
        return room(self._device)

    def taken(self) -> int:
        """See `Memory`."""
        taken: int = torch.cuda.memory_allocated(self._device)
        return taken


def again(function: Callable[..., Any], *given: Any) -> Any:
    """function(*given), made again for the gradient. FLUX draws nothing at random in its blocks, so no random
    state has to be kept."""
    return checkpoint(function, *given, use_reentrant=False, preserve_rng_state=False)


class KeptWhileThereIsRoom:
    """For `enable_gradient_checkpointing`: called with each block in turn, and what it is given."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._sizes: dict[Hashable, int] = {}  # most that a block kept, by shape

    def __call__(self, function: Callable[..., Any], *given: Any) -> Any:
        """function(*given). What is no block keeps nothing that is not there already."""
        block = function.args[0] if isinstance(function, partial) else function
        if not isinstance(block, nn.Module):
            return function(*given)
        shape = (given[0].shape, given[1].shape)
        if self._memory.room() <= 3 * self._sizes.get(shape, 0) + RESERVE_MIB * _MIB:
            return again(function, *given)
        before = self._memory.taken()
        made = function(*given)
        self._sizes[shape] = max(self._sizes.get(shape, 0), self._memory.taken() - before)
        return made
