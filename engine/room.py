"""How much of a GPU's memory is left."""

from weakref import WeakKeyDictionary

import torch

_set_aside: WeakKeyDictionary[object, int] = WeakKeyDictionary()


def set_aside(owner: object, size: int) -> None:
    """So many bytes are an owner's, while it lives or until it says otherwise, although the allocator counts
    them as held back for anybody: pools of recorded passes (pytorch #121932)."""
    _set_aside[owner] = size


def room(device: torch.device) -> int:
    """Bytes that a process may still have: free on the card, or held back by its allocator for anybody and
    not set aside; no more than it is allowed of the card."""
    free, whole = torch.cuda.mem_get_info(device)
    place = torch.cuda.current_device() if device.index is None else device.index
    taken: int = torch.cuda.memory_allocated(device)
    held: int = torch.cuda.memory_reserved(device) - taken
    allowed = int(torch.cuda.get_per_process_memory_fraction(place) * whole) - taken
    return min(free + held, allowed) - sum(_set_aside.values())
