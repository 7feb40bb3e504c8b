"""What is left of a GPU's memory: what is free or held back, within what a process is allowed."""

import pytest
import torch

from engine.recording import GraphRecorder
from engine.room import room, set_aside

FREE, WHOLE, TAKEN, HELD, PARTED = 10_000, 100_000, 20_000, 3_000, 400


def stats(_device: torch.device) -> dict[str, int]:
    """PARTED of what is held back lies between others' tensors."""
    known = {"reserved": TAKEN + HELD, "allocated": TAKEN, "inactive_split": PARTED}
    return {f"{kind}_bytes.all.current": size for kind, size in known.items()}


@pytest.mark.parametrize("device", [torch.device("cuda"), torch.device("cuda", 1)])
@pytest.mark.parametrize(("fraction", "left"), [(1.0, FREE + HELD - PARTED), (0.25, 5_000 - PARTED)])
def test_it_is_what_is_free_or_held_back_within_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, fraction: float, left: int
) -> None:
    asked: list[int] = []

    def allowed(place: int) -> float:
        asked.append(place)
        return fraction

    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (FREE, WHOLE))
    monkeypatch.setattr("torch.cuda.memory_stats", stats)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 3)
    monkeypatch.setattr("torch.cuda.get_per_process_memory_fraction", allowed)
    assert room(device) == left
    assert asked == [3 if device.index is None else 1]


def test_what_recorded_passes_hold_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The allocator counts it as held back for anybody."""
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (FREE, WHOLE))
    monkeypatch.setattr("torch.cuda.memory_stats", stats)
    monkeypatch.setattr("torch.cuda.get_per_process_memory_fraction", lambda _: 1.0)
    monkeypatch.setattr("torch.cuda.graph_pool_handle", lambda: (0, 1))
    device = torch.device("cuda", 0)
    one, other = GraphRecorder(device), GraphRecorder(device)
    one._keep(1_000)
    other._keep(500)
    assert room(device) == FREE + HELD - 1_500
    assert one._room() == FREE + HELD - 500, "its own is used again"
    set_aside(other, 700)
    one.forget()
    assert room(device) == FREE + HELD - 700
    del other
    assert room(device) == FREE + HELD - PARTED
