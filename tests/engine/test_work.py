"""What all work has: its pace."""

import pytest

from engine import work as module
from engine.work import Pace


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
