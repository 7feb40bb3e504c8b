"""Threads beside the GPU that are none: jobs are done as they are begun, or when a test says so."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from engine.beside import Beside


class AtOnce(Executor):
    def submit(self, job: Callable[..., Any], /, *_: Any, **__: Any) -> Future:
        future: Future = Future()
        _do(job, future)
        return future


class Later(Executor):
    """`do` is the thread."""

    def __init__(self) -> None:
        self._jobs: list[tuple[Callable[[], Any], Future]] = []

    @property
    def waiting(self) -> int:
        return sum(not future.cancelled() for _, future in self._jobs)

    def submit(self, job: Callable[..., Any], /, *_: Any, **__: Any) -> Future:
        self._jobs.append((job, Future()))
        return self._jobs[-1][1]

    def do(self, count: int = 1) -> None:
        """So many jobs, the first that came first."""
        for _ in range(count):
            _do(*self._jobs.pop(0))


def _do(job: Callable[[], Any], future: Future) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(job())
        except Exception as error:  # noqa: BLE001 - raised where it is asked for
            future.set_exception(error)


def at_once() -> Beside:
    return Beside(AtOnce(), lambda: None)
