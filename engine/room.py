"""How much of a GPU's memory is left."""

import torch


def room(device: torch.device) -> int:
    """Bytes that a process may still have: free on the card, or held back by its allocator for anybody; no
    more than it is allowed of the card."""
    free, whole = torch.cuda.mem_get_info(device)
    place = torch.cuda.current_device() if device.index is None else device.index
    taken: int = torch.cuda.memory_allocated(device)
    held: int = torch.cuda.memory_reserved(device) - taken
    allowed = int(torch.cuda.get_per_process_memory_fraction(place) * whole) - taken
    return min(free + held, allowed)
