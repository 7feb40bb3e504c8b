"""Requests for the GPU as work that moves one quantum at a time. Decides nothing about order."""

import time
from abc import ABC, abstractmethod

from engine.messages import Reply
from engine.scheduler import Kind

PACE_MEMORY = 0.9


class Pace:
    """Seconds a step by the wall clock, pauses for other people's work included: what is left of a wait."""

    def __init__(self) -> None:
        self._seconds_a_step: float | None = None
        self._last: float | None = None

    def stepped(self, steps: int) -> None:
        """So many steps are done since the last call."""
        now = time.monotonic()
        if self._last is not None and steps:
            pace = (now - self._last) / steps
            old = self._seconds_a_step
            self._seconds_a_step = pace if old is None else PACE_MEMORY * old + (1 - PACE_MEMORY) * pace
        self._last = now

    def eta_seconds(self, steps_left: int) -> float | None:
        """None until there is something to go by."""
        return None if self._seconds_a_step is None else round(self._seconds_a_step * steps_left, 1)


class Work(ABC):
    """A request on its way."""

    kind: Kind

    def __init__(self, request_id: str, person_id: str) -> None:
        self.id, self.person_id = request_id, person_id
        self.compute_seconds = 0.0  # of all its quanta, whoever runs them counts
        self._begun_at = time.monotonic()

    @property
    def waiting(self) -> bool:
        """Whether a quantum could only wait for a thread beside the GPU, which says what it has done."""
        return False

    @abstractmethod
    def quantum(self) -> Reply:
        """Run a quantum. Anything but a Progress is the end. Raises EngineError, OSError."""

    @abstractmethod
    def close(self) -> None:
        """It is not asked again: nothing of it may be under way any more, such as a write into a folder that
        whoever asked is about to remove."""

    @abstractmethod
    def checkpoint(self) -> None:
        """Make what was done survive this process."""
