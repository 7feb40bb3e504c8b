"""Children are started in order, restarted, and never left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bot.errors import ServiceUnavailable
from bot.supervision import BackOff, Child, ChildGaveUp, Supervisor

QUICK = BackOff(first_seconds=0.01, longest_seconds=0.05, calm_seconds=60)
SLEEPER = "import time; time.sleep(60)"


def python(name: str, code: str, **more: object) -> Child:
    return Child(name=name, command=(sys.executable, "-c", code), **more)  # type: ignore[arg-type]


async def until(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_a_killed_child_is_started_again_and_all_end_on_stop() -> None:
    supervisor, stop = Supervisor([python("a", SLEEPER), python("b", SLEEPER)], QUICK), asyncio.Event()
    running = asyncio.create_task(supervisor.run(stop))
    await asyncio.wait_for(supervisor.started.wait(), 10)
    first, other = supervisor.pid("a"), supervisor.pid("b")
    assert first and other
    os.kill(first, signal.SIGKILL)
    await until(lambda: supervisor.pid("a") not in (None, first))
    second = supervisor.pid("a")
    assert supervisor.pid("b") == other
    stop.set()
    await asyncio.wait_for(running, 10)
    assert all(gone(pid) for pid in (first, other, second))


async def test_a_child_that_only_the_operator_can_help_ends_everything() -> None:
    children = [python("steady", SLEEPER), python("broken", "raise SystemExit(2)")]
    supervisor = Supervisor(children, QUICK)
    with pytest.raises(ChildGaveUp, match="broken"):
        await asyncio.wait_for(supervisor.run(asyncio.Event()), 10)
    assert supervisor.pid("steady") is None


async def test_a_child_that_does_not_get_ready_is_reported() -> None:
    async def never() -> bool:
        return False

    child = python("mute", SLEEPER, ready=never, ready_seconds=0.2)
    with pytest.raises(ServiceUnavailable, match="mute"):
        await Supervisor([child], QUICK).run(asyncio.Event())


async def test_grandchildren_do_not_outlive_their_parent(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import subprocess, sys, pathlib, time;"
        f"p = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]);"
        f"pathlib.Path({str(note)!r}).write_text(str(p.pid)); time.sleep(60)"
    )
    supervisor, stop = Supervisor([python("parent", code)], QUICK), asyncio.Event()
    running = asyncio.create_task(supervisor.run(stop))
    await until(lambda: note.exists() and note.read_text() != "")
    stop.set()
    await running
    await until(lambda: gone(int(note.read_text())))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's help exists on Linux only")
async def test_children_end_with_a_supervisor_that_is_killed() -> None:
    code = f"""
import asyncio, sys
from bot.supervision import Child, Supervisor
async def main():
    supervisor = Supervisor([Child("a", (sys.executable, "-c", {SLEEPER!r}))])
    running = asyncio.create_task(supervisor.run(asyncio.Event()))
    await supervisor.started.wait()
    print(supervisor.pid("a"), flush=True)
    await running
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        pid = int(process.stdout.readline())
        assert not gone(pid)
        process.kill()
    await until(lambda: gone(pid))


def test_the_pause_doubles_up_to_its_limit() -> None:
    back_off = BackOff(first_seconds=0.5, longest_seconds=30)
    assert [back_off.pause(deaths) for deaths in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert back_off.pause(100) == 30
