"""Seconds by stage of a program that is not to know that it is measured."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

REST = "the rest"


class Stages:
    """One stage within another is not counted twice: the outer one's clock stands still meanwhile."""

    def __init__(self, wait: Callable[[], None] = lambda: None) -> None:
        """wait: at the end of each stage, for what it has told a GPU to do."""
        self._wait = wait
        self.seconds, self.calls = defaultdict[str, float](float), Counter[str]()
        self._open, self._since = list[str](), 0.0

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What happens in here belongs to it."""
        self._turn()
        self._open.append(name)
        self.calls[name] += 1
        try:
            yield
        finally:
            self._wait()
            self._turn()
            self._open.pop()

    @contextmanager
    def watching(self, *watched: tuple[Any, str, str]) -> Iterator[None]:
        """Each (owner, function, stage); all else in here is the rest."""
        with ExitStack() as stack:
            for owner, function, name in watched:
                timed = self.timed(getattr(owner, function), name)
                stack.enter_context(mock.patch.object(owner, function, timed))
            stack.enter_context(self.stage(REST))
            yield

    def timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The function as a stage."""

        def call(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        return call

    def _turn(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now
