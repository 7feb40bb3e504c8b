"""How much of a GPU's memory is left."""

from weakref import WeakKeyDictionary

import torch

_set_aside: WeakKeyDictionary[object, int] = WeakKeyDictionary()


def set_aside(owner: object, size: int) -> None:
    """So many bytes are an owner's, while it lives or until it says otherwise, although the allocator counts
    them as held back for anybody: pools of recorded passes (pytorch #121932)."""
    _set_aside[owner] = size


def room(device: torch.device) -> int:
    """Bytes that a process may still have: free on the card, as far as it is allowed, or held back by its
    allocator for anybody, whole and not set aside."""
    free, whole = torch.cuda.mem_get_info(device)
    place = torch.cuda.current_device() if device.index is None else device.index
    known = torch.cuda.memory_stats(device)
    reserved, taken, parted = (
        int(known.get(f"{kind}_bytes.all.current", 0)) for kind in ("reserved", "allocated", "inactive_split")
    )
    allowed = int(torch.cuda.get_per_process_memory_fraction(place) * whole) - reserved
    # What lies between others' tensors is room for small ones alone. Pools may be among it.
    return min(free, allowed) + reserved - taken - max(parted, sum(_set_aside.values()))
