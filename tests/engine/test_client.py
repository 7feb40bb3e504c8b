"""The engine's client against a process that speaks the protocol, dies, hangs and refuses."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.client import EngineClient, EngineGone
from engine.config import EngineConfig
from engine.messages import (
    AdapterTrained,
    CheckPhoto,
    Failed,
    HeadshotsMade,
    MakeHeadshots,
    PhotoChecked,
    TrainAdapter,
)

FAKE = (sys.executable, str(Path(__file__).parents[1] / "fake_engine.py"))
Make = Callable[..., EngineClient]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    clients = []

    def make(start: str = "", command: tuple[str, ...] = FAKE, **values: Any) -> EngineClient:
        environ = {**os.environ, "FAKE_ENGINE_DIARY": str(tmp_path / "diary"), "FAKE_ENGINE_START": start}
        client = EngineClient(EngineConfig(base="tiny"), environ=environ, command=command, **values)
        clients.append(client)
        client.start()
        return client

    yield make
    for client in clients:
        await client.close()


def diary(folder: Path) -> list[str]:
    return (folder / "diary").read_text().splitlines()


def check(folder: Path, word: str, id: str = "c1") -> CheckPhoto:
    path = folder / f"{id.replace('/', '-')}.photo"
    path.write_text(f"{word}\nphoto")
    return CheckPhoto(id, "p1", str(path), str(folder / f"{id.replace('/', '-')}.clean"))


async def test_answers_find_those_who_wait(make: Make, tmp_path: Path) -> None:
    client = make()
    answers = await asyncio.gather(
        client.request(check(tmp_path, "good", "c1")),
        client.request(check(tmp_path, "bad", "c2")),
        client.request(check(tmp_path, "fail", "c3")),
    )
    assert [type(answer) for answer in answers] == [PhotoChecked, PhotoChecked, Failed]
    assert [answer.id for answer in answers] == ["c1", "c2", "c3"]
    assert diary(tmp_path)[0].startswith("start tiny")


async def test_progress_and_results_of_long_work(make: Make, tmp_path: Path) -> None:
    client, told = make(), []
    train = TrainAdapter("t1", "ann", "a1", ("x",), str(tmp_path / "work"), str(tmp_path / "adapter"))
    answer = await client.request(train, told.append)
    assert isinstance(answer, AdapterTrained)
    assert [progress.fraction for progress in told] == [0.5]
    shoot = MakeHeadshots(
        "s1", "ann", "a1", str(tmp_path / "adapter"), "{subject}", 2, 7, str(tmp_path / "out")
    )
    made = await client.request(shoot)
    assert isinstance(made, HeadshotsMade)
    assert len(made.pictures) == 2


async def test_a_death_fails_what_was_in_hand_and_another_engine_comes(make: Make, tmp_path: Path) -> None:
    client = make()
    hanging = asyncio.create_task(client.request(check(tmp_path, "hang", "c1")))
    with pytest.raises(EngineGone):
        await client.request(check(tmp_path, "crash", "c2"))
    with pytest.raises(EngineGone):
        await hanging
    assert isinstance(await client.request(check(tmp_path, "good", "c3")), PhotoChecked)
    assert sum(line.startswith("start") for line in diary(tmp_path)) == 2


async def test_cancelled_work_ends(make: Make, tmp_path: Path) -> None:
    client = make()
    hanging = asyncio.create_task(client.request(check(tmp_path, "hang")))
    await client.request(check(tmp_path, "good", "c2"))
    await client.cancel("c1")
    answer = await hanging
    assert isinstance(answer, Failed)
    assert answer.reason == "cancelled"
    await client.forget("a1")
    await client.request(check(tmp_path, "good", "c3"))
    assert "ForgetAdapter" in diary(tmp_path)


async def test_requests_wait_for_an_engine_that_starts_slowly(make: Make, tmp_path: Path) -> None:
    begun = time.monotonic()
    assert isinstance(await make("slow").request(check(tmp_path, "good")), PhotoChecked)
    assert time.monotonic() - begun >= 0.5


async def test_an_engine_that_cannot_start_tells_the_operator_and_is_tried_again(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        client = make("not-ready", not_ready_seconds=0.1)
        waiting = asyncio.create_task(client.request(check(tmp_path, "good")))
        for _ in range(3000):
            if (tmp_path / "diary").exists() and len(diary(tmp_path)) >= 2:
                break
            await asyncio.sleep(0.02)
    assert len(diary(tmp_path)) >= 2
    assert not waiting.done()
    assert "The base is missing. Put it there." in caplog.text
    await client.close()
    with pytest.raises(EngineGone):
        await waiting


async def test_a_program_that_does_not_exist_is_tried_again(make: Make, tmp_path: Path) -> None:
    client = make(command=(str(tmp_path / "none"),))
    waiting = asyncio.create_task(client.ready())
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await client.close()
    assert await waiting is False


async def test_closing_ends_the_process_and_everybody_who_waits(make: Make, tmp_path: Path) -> None:
    client = make()
    hanging = asyncio.create_task(client.request(check(tmp_path, "hang")))
    await client.request(check(tmp_path, "good", "c2"))
    pid = client.pid
    assert pid
    await client.close()
    await client.close()
    with pytest.raises(EngineGone):
        await hanging
    assert not psutil.pid_exists(pid)
    assert client.pid is None


async def test_an_engine_that_ignores_sigterm_is_killed(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("engine.client.GRACE_SECONDS", 0.3)
    stubborn, deaf = tmp_path / "stubborn.py", tmp_path / "deaf"
    stubborn.write_text(
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(deaf)!r}).touch(); time.sleep(600)"
    )
    client = make(command=(sys.executable, str(stubborn)))
    while not deaf.exists():
        await asyncio.sleep(0.02)
    with caplog.at_level(logging.WARNING):
        await client.close()
    assert "engine_killed" in caplog.text
    assert client.pid is None


async def test_a_stopped_engine_does_not_block_a_close(make: Make, tmp_path: Path) -> None:
    client = make()
    await client.ready()
    assert client.pid
    os.kill(client.pid, signal.SIGKILL)
    with contextlib.suppress(EngineGone):
        await client.request(check(tmp_path, "good"))
    await asyncio.wait_for(client.close(), 60)
