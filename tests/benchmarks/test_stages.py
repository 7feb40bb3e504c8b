"""Stages share the time out: every second belongs to exactly one."""

import pytest

from benchmarks import stages as module
from benchmarks.stages import REST, Stages


class Kitchen:
    def cook(self, clock: list[float]) -> str:
        clock[0] += 5
        self.wash(clock)
        clock[0] += 1
        return "soup"

    def wash(self, clock: list[float]) -> None:
        clock[0] += 2


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def test_a_stage_within_another_is_not_counted_twice(clock: list[float]) -> None:
    stages = Stages()
    with stages.watching((Kitchen, "cook", "cooking"), (Kitchen, "wash", "washing")):
        clock[0] += 10
        assert Kitchen().cook(clock) == "soup"
        Kitchen().wash(clock)
    assert stages.seconds == {REST: 10, "cooking": 6, "washing": 4}
    assert stages.calls == {REST: 1, "cooking": 1, "washing": 2}
    assert stages.total == 20


def test_a_stage_ends_when_the_gpu_has_done_it(clock: list[float]) -> None:
    def wait() -> None:
        clock[0] += 100

    stages = Stages(wait)
    with stages.watching((Kitchen, "cook", "cooking")):
        Kitchen().cook(clock)
        clock[0] += 10
    assert stages.seconds == {REST: 110, "cooking": 108}


def test_what_was_watched_is_itself_again_and_a_failure_is_counted(clock: list[float]) -> None:
    stages, cook = Stages(), Kitchen.cook
    with pytest.raises(TypeError), stages.watching((Kitchen, "cook", "cooking")):
        clock[0] += 3
        Kitchen().cook()  # type: ignore[call-arg]
    assert Kitchen.cook is cook
    assert stages.seconds[REST] == 3
