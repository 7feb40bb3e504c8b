"""What is recorded is replayed from the inputs of the day, and only where there is room."""

import torch

from engine.recording import Replays
from tests.engine.again import Again

CPU = torch.device("cpu")


class Twice:
    """Doubles, and notes how often it ran by itself."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def __call__(self, key: object, given: torch.Tensor) -> tuple[torch.Tensor]:
        self.calls.append(key)
        return (2 * given,)


def ask(replays: Replays, key: object, value: float) -> list[float]:
    (made,) = replays(key, torch.full((2,), value))
    return made.tolist()


def test_the_first_call_runs_the_second_is_recorded_and_the_others_replay_it() -> None:
    act, recorder = Twice(), Again()
    replays = Replays(act, CPU, recorder)
    for turn in range(6):
        assert ask(replays, "a", float(turn)) == [2.0 * turn] * 2
        assert recorder.recorded == min(turn, 1)
        assert recorder.replayed == turn


def test_each_kind_has_its_own() -> None:
    recorder = Again()
    replays = Replays(Twice(), CPU, recorder)
    for turn in range(4):
        for key in ("a", "b", ("c", 1)):
            assert ask(replays, key, turn + 0.5) == [2.0 * turn + 1.0] * 2
    assert recorder.recorded == 3


def test_without_a_recorder_or_without_room_every_call_runs() -> None:
    for recorder in (None, Again(most=0)):
        act = Twice()
        replays = Replays(act, CPU, recorder)
        assert [ask(replays, "a", float(turn))[0] for turn in range(4)] == [0.0, 2.0, 4.0, 6.0]
        # One more to see whether there is room; then nobody asks again.
        assert len(act.calls) == 4 + (recorder is not None)


def test_what_was_forgotten_is_recorded_again() -> None:
    recorder = Again()
    replays = Replays(Twice(), CPU, recorder)
    for _ in range(3):
        ask(replays, "a", 1.0)
    replays.forget()
    assert recorder.forgotten == 1
    assert ask(replays, "a", 4.0) == [8.0, 8.0]
    assert recorder.recorded == 2


def test_who_gave_up_for_want_of_room_tries_again_once_all_is_forgotten() -> None:
    recorder = Again(most=0)
    replays = Replays(Twice(), CPU, recorder)
    for _ in range(3):
        ask(replays, "a", 1.0)
    recorder.most = 1
    ask(replays, "a", 1.0)
    assert recorder.recorded == 0
    replays.forget()
    ask(replays, "a", 1.0)
    assert recorder.recorded == 1


def test_what_finds_no_room_keeps_nothing_else_from_being_recorded() -> None:
    recorder = Again(most=0)
    replays = Replays(Twice(), CPU, recorder)
    for _ in range(2):
        ask(replays, "too large", 1.0)
    recorder.most = 1
    for _ in range(2):
        ask(replays, "small", 1.0)
    assert recorder.recorded == 1


def test_inputs_belong_to_whoever_asks() -> None:
    replays = Replays(Twice(), CPU, Again())
    mine = torch.ones(2)
    for _ in range(3):
        replays("a", mine)
    replays("a", torch.zeros(2))
    assert mine.tolist() == [1.0, 1.0]
