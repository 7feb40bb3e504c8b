"""What all work has: its pace, and the time that it took of the GPU."""

import pytest

from engine import work as module
from engine.messages import Progress, Reply
from engine.work import Pace, Work


def test_the_eta_counts_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    pace = Pace()
    assert pace.eta_seconds(10) is None
    pace.stepped(1)
    assert pace.eta_seconds(10) is None
    clock[0] = 4.0  # two steps, one second each, and two seconds of somebody else's work
    pace.stepped(2)
    assert pace.eta_seconds(10) == 20.0


def test_time_is_counted_also_of_a_quantum_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])

    class Odd(Work):
        def _advance(self) -> Reply:
            clock[0] += 2
            if clock[0] > 3:
                raise OSError("full")
            return Progress(self.id, "training")

        def close(self) -> None: ...

        def checkpoint(self) -> None: ...

    odd = Odd("r", "ada")
    assert odd.quantum() == Progress("r", "training")
    with pytest.raises(OSError, match="full"):
        odd.quantum()
    assert odd.compute_seconds == 4
