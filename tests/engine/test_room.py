"""What is left of a GPU's memory: what is free or held back, within what a process is allowed."""

import pytest
import torch

from engine.room import room

FREE, WHOLE, TAKEN, HELD = 10_000, 100_000, 20_000, 3_000


@pytest.mark.parametrize("device", [torch.device("cuda"), torch.device("cuda", 1)])
@pytest.mark.parametrize(("fraction", "left"), [(1.0, FREE + HELD), (0.25, 5_000)])
def test_it_is_what_is_free_or_held_back_within_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, fraction: float, left: int
) -> None:
    asked: list[int] = []

    def allowed(place: int) -> float:
        asked.append(place)
        return fraction

    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (FREE, WHOLE))
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda _: TAKEN)
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda _: TAKEN + HELD)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 3)
    monkeypatch.setattr("torch.cuda.get_per_process_memory_fraction", allowed)
    assert room(device) == left
    assert asked == [3 if device.index is None else 1]
