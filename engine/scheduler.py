"""Which work gets the GPU next. Decides, runs nothing; knows no tensor, no clock and no file.

Somebody waits in the chat for a shoot, so shoots go before trainings at every quantum; while both wait,
trainings are owed a share of the time and take it as soon as it adds up to a quantum of theirs. Within a
kind the person who had least goes first, and what has begun is brought to its end: taking turns would let
everybody wait for the last one. Work that could only wait for something else is paused: it is passed over,
and where several have begun what began first goes first. That is start-time fair queueing (Goyal, Vin, Cheng,
1996) with a piece of work as the packet and measured seconds as its length: the floor is its virtual time.

What it promises, held by simulation in the tests: while a shoot waits for the GPU, no two quanta of training
follow one another; a training beside endless shoots has its share of any longer stretch, or every other
quantum where that is less; of two people who both wait all the time, neither gets more than a piece of work
ahead; what was removed or is paused gets no quantum, and the GPU does not rest while anything else is there.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum

TRAINING_SHARE = 0.25
# Shoots that just arrived go before trainings even when those are owed time, but not without end.
MAX_OWED_QUANTA = 8


class Kind(StrEnum):
    """Of work on the GPU."""

    SHOOT = "shoot"
    TRAINING = "training"


@dataclass
class _Task:
    id: str
    kind: Kind
    person_id: str
    arrival: int
    begun: float = math.inf  # its place among those that have begun
    paused: bool = False


@dataclass
class Scheduler:
    """Waiting and running work. Call `next`, run one quantum of it, then report with `ran`."""

    training_share: float = TRAINING_SHARE
    _tasks: dict[str, _Task] = field(default_factory=dict)
    _served: dict[tuple[Kind, str], float] = field(default_factory=dict)
    _floor: dict[Kind, float] = field(default_factory=lambda: dict.fromkeys(Kind, 0.0))
    _owed_seconds: float = 0.0
    _training_quantum_seconds: float = 0.0
    _trained_last: bool = False
    _arrivals: int = 0
    _beginnings: int = 0

    def add(self, task_id: str, kind: Kind, person_id: str) -> None:
        """Work arrives. The same id again is ignored."""
        if task_id in self._tasks:
            return
        who = (kind, person_id)
        waiting = any((task.kind, task.person_id) == who for task in self._tasks.values())
        if not waiting:  # nobody saves up time by staying away
            self._served[who] = max(self._served.get(who, 0.0), self._floor[kind])
        self._arrivals += 1
        self._tasks[task_id] = _Task(task_id, kind, person_id, self._arrivals)

    def remove(self, task_id: str) -> None:
        """Work is finished, failed or cancelled."""
        self._tasks.pop(task_id, None)
        present = {(task.kind, task.person_id) for task in self._tasks.values()}
        for who in [
            who for who in self._served if who not in present and self._served[who] <= self._floor[who[0]]
        ]:
            del self._served[who]

    def pause(self, task_id: str) -> None:
        """It could only wait: it gets no quantum until it is resumed."""
        self._tasks[task_id].paused = True

    def resume(self, task_id: str) -> None:
        """It may have something to do again. What is not paused, or not there any more, stays as it is."""
        if task_id in self._tasks:
            self._tasks[task_id].paused = False

    @property
    def idle(self) -> bool:
        """Whether there is nothing to run."""
        return all(task.paused for task in self._tasks.values())

    def next(self) -> str | None:
        """The work whose quantum is next, or None where nothing waits for the GPU."""
        shoot, training = self._first(Kind.SHOOT), self._first(Kind.TRAINING)
        if shoot is None or training is None:
            chosen = shoot or training
        else:
            chosen = training if self._training_is_due(shoot) else shoot
        if chosen is None:
            return None
        if math.isinf(chosen.begun):
            self._beginnings += 1
            chosen.begun = self._beginnings
        self._floor[chosen.kind] = max(self._floor[chosen.kind], self._service(chosen))
        return chosen.id

    def ran(self, task_id: str, seconds: float) -> None:
        """A quantum took so long."""
        task = self._tasks.get(task_id)
        if task is None:
            return
        self._served[task.kind, task.person_id] = self._service(task) + seconds
        self._trained_last = task.kind is Kind.TRAINING
        if task.kind is Kind.TRAINING:
            self._training_quantum_seconds = seconds
            self._owed_seconds = max(0.0, self._owed_seconds - seconds)
        elif self._first(Kind.TRAINING) is not None:
            self._owed_seconds += seconds * self.training_share / (1 - self.training_share)

    def ahead(self, task_id: str) -> int:
        """How many of its kind go before it."""
        order = [task.id for task in self._order(self._tasks[task_id].kind)]
        return order.index(task_id)

    def _training_is_due(self, shoot: _Task) -> bool:
        if self._trained_last:
            return False
        quanta = self._owed_seconds / max(self._training_quantum_seconds, 1e-6)
        return quanta >= (MAX_OWED_QUANTA if math.isinf(shoot.begun) else 1)

    def _first(self, kind: Kind) -> _Task | None:
        return next((task for task in self._order(kind) if not task.paused), None)

    def _order(self, kind: Kind) -> list[_Task]:
        tasks = [task for task in self._tasks.values() if task.kind is kind]
        return sorted(tasks, key=lambda task: (task.begun, self._service(task), task.arrival))

    def _service(self, task: _Task) -> float:
        return self._served.get((task.kind, task.person_id), 0.0)
