"""Child processes that are started in order, watched, restarted with a growing pause, and never left behind.

Knows nothing of what the children do. Every child has a process group of its own, so that Ctrl-C reaches only
the supervisor, which then stops the children in the reverse order of their start. On Linux the kernel also
ends a child when its supervisor is killed outright.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.errors import OperatorError, ServiceUnavailable

log = logging.getLogger(__name__)

OPERATOR_EXIT = 2  # exit status of a child that only the operator can help: restarting it is pointless
_PR_SET_PDEATHSIG = 1


async def _at_once() -> bool:
    return True


@dataclass(frozen=True)
class Child:
    """A program to keep running.

    `ready` tells whether those that were listed after it may start. `output` is a file that takes what it
    prints; None leaves it to the supervisor's own streams.
    """

    name: str
    command: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    output: Path | None = None
    ready: Callable[[], Awaitable[bool]] = _at_once
    ready_seconds: float = 20.0
    stop_seconds: float = 20.0


@dataclass(frozen=True)
class BackOff:
    """Pauses before a restart: doubled each time, forgotten once a child stayed alive for `calm_seconds`."""

    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    calm_seconds: float = 60.0

    def pause(self, deaths: int) -> float:
        """Seconds to wait before the restart after that many deaths in a row (1 or more)."""
        return float(min(self.longest_seconds, self.first_seconds * 2 ** (min(deaths, 20) - 1)))


class ChildGaveUp(OperatorError):
    """A child ended with the status that says that only the operator can help; it has said why itself."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The {name} process cannot run; its message stands above.")
        self.name = name


def die_with_parent(parent: int, signal_number: int = signal.SIGKILL) -> Callable[[], None] | None:
    """What a child does between fork and exec so that the kernel ends it with its parent (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal_number)
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)

    return arrange


class Supervisor:
    """Runs children until told to stop. One `run` an instance."""

    def __init__(self, children: Sequence[Child], back_off: BackOff | None = None) -> None:
        self._children = tuple(children)
        self._back_off = back_off or BackOff()
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self.started = asyncio.Event()  # every child is up for the first time

    def pid(self, name: str) -> int | None:
        """The process id of a living child."""
        process = self._processes.get(name)
        return process.pid if process and process.returncode is None else None

    async def run(self, stop: asyncio.Event) -> None:
        """Start all, keep them alive until `stop` is set, then stop all.

        Raises ChildGaveUp when a child ends with OPERATOR_EXIT, ServiceUnavailable when one does not get
        ready in its time; nothing is left running in any case.
        """
        watchers: list[asyncio.Task[None]] = []
        stopped = asyncio.create_task(stop.wait())
        try:
            for child in self._children:
                await self._start(child)
                watchers.append(asyncio.create_task(self._keep_alive(child)))
                if not await self._wait_ready(child, stopped, watchers):
                    break
            else:
                self.started.set()
            done, _ = await asyncio.wait({stopped, *watchers}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()
        finally:
            for task in (stopped, *watchers):
                task.cancel()
            await asyncio.gather(stopped, *watchers, return_exceptions=True)
            await self._stop_all()

    async def _start(self, child: Child) -> None:
        output = child.output.open("ab") if child.output else None
        try:
            self._processes[child.name] = await asyncio.create_subprocess_exec(
                *child.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **child.environ},
                process_group=0,
                preexec_fn=die_with_parent(os.getpid()),
            )
        finally:
            if output:
                output.close()
        log.info("child started", extra={"child": child.name, "pid": self._processes[child.name].pid})

    async def _wait_ready(
        self, child: Child, stopped: asyncio.Task[bool], watchers: Sequence[asyncio.Task[None]]
    ) -> bool:
        deadline = time.monotonic() + child.ready_seconds
        while not await child.ready():
            if stopped.done() or any(task.done() for task in watchers):
                return False
            if time.monotonic() > deadline:
                where = f"See {child.output}." if child.output else "See its messages above."
                raise ServiceUnavailable(child.name, where)
            await asyncio.sleep(0.05)
        return True

    async def _keep_alive(self, child: Child) -> None:
        deaths = 0
        while True:
            born = time.monotonic()
            status = await self._processes[child.name].wait()
            if status == OPERATOR_EXIT:
                raise ChildGaveUp(child.name)
            lived = time.monotonic() - born
            deaths = 1 if lived > self._back_off.calm_seconds else deaths + 1
            pause = self._back_off.pause(deaths)
            log.warning(
                "child died", extra={"child": child.name, "status": status, "restart_in_seconds": pause}
            )
            self._kill_group(self._processes[child.name].pid)  # what the dead child had started itself
            await asyncio.sleep(pause)
            await self._start(child)

    async def _stop_all(self) -> None:
        for child in reversed(self._children):
            process = self._processes.get(child.name)
            if process is None:
                continue
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), child.stop_seconds)
                except TimeoutError:
                    log.warning("child killed", extra={"child": child.name})
            self._kill_group(process.pid)
            await process.wait()

    @staticmethod
    def _kill_group(group: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def stop_on_signals(stop: asyncio.Event) -> None:
    """SIGTERM, SIGINT and a closed terminal set `stop`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
