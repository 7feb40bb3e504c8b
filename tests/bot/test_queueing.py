"""Redis is a bell: rung for every job, never in anybody's way, and its silence loses nothing."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlmodel import Session

from bot import jobs, queueing
from bot.queueing import WakeUps, arq_options, is_dead, me, release_dead, serve
from bot.store import work
from bot.store.database import Database
from bot.store.models import JobRow
from tests.fakes import until
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.stop()


async def stopped(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_every_ring_is_heard_also_for_a_job_that_runs(redis: RedisServer) -> None:
    heard: list[str] = []
    gate = asyncio.Event()

    async def run(job_id: str) -> None:
        heard.append(job_id)
        await gate.wait()

    serving = asyncio.create_task(serve(arq_options(redis.dsn, "check", run, together=8)))
    wake = WakeUps(redis.dsn)
    for _ in range(3):
        await wake.wake("check", "check:1")
    await wake.wake("train", "train:1")  # another queue
    await until(lambda: len(heard) == 3, serving)
    gate.set()
    await asyncio.sleep(0.3)
    assert heard == ["check:1"] * 3
    await stopped(serving)
    await wake.close()
    await wake.close()


async def test_no_more_at_once_than_was_said(redis: RedisServer) -> None:
    running: set[str] = set()
    most = []

    async def run(job_id: str) -> None:
        running.add(job_id)
        most.append(len(running))
        await asyncio.sleep(0.05)
        running.discard(job_id)

    wake = WakeUps(redis.dsn)
    for number in range(6):
        await wake.wake("check", f"check:{number}")
    serving = asyncio.create_task(serve(arq_options(redis.dsn, "check", run, together=2)))
    await until(lambda: len(most) == 6, serving)
    assert max(most) == 2
    await stopped(serving)
    await wake.close()


async def test_a_ring_without_redis_costs_nobody_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "QUIET_SECONDS", 3600.0)
    wake, tried = WakeUps(f"unix://{tmp_path / 'none.sock'}"), []
    ring = wake._redis.enqueue_job
    monkeypatch.setattr(wake._redis, "enqueue_job", lambda *a, **b: (tried.append(1), ring(*a, **b))[1])
    for _ in range(20):
        await wake.wake("check", "check:1")
    assert tried == [1], "after a failure nothing is tried for a while"
    await wake.close()


async def test_a_worker_outlives_a_redis_that_forgot_everything(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "QUIET_SECONDS", 0.1)
    heard: list[str] = []
    gate = asyncio.Event()

    async def run(job_id: str) -> None:
        heard.append(job_id)
        await gate.wait()

    serving = asyncio.create_task(serve(arq_options(redis.dsn, "check", run, together=8)))
    wake = WakeUps(redis.dsn)
    await wake.wake("check", "before")
    await until(lambda: heard == ["before"], serving)
    redis.stop()
    await asyncio.sleep(1.0)
    await wake.wake("check", "lost")
    redis.start()
    await asyncio.sleep(0.2)
    await wake.wake("check", "after")
    await until(lambda: heard[-1] == "after", serving)
    assert not serving.done()
    gate.set()
    await asyncio.sleep(0.2)
    assert not serving.done()
    await stopped(serving)
    await wake.close()


async def test_work_goes_on_when_its_arq_worker_is_stopped(redis: RedisServer) -> None:
    steps: list[str] = []

    async def work_(job_id: str) -> None:
        steps.append("begun")
        await asyncio.sleep(0.3)
        steps.append("done")

    tasks: set[asyncio.Task[None]] = set()

    async def run(job_id: str) -> None:
        tasks.add(task := asyncio.create_task(work_(job_id)))
        await asyncio.shield(task)

    serving = asyncio.create_task(serve(arq_options(redis.dsn, "check", run, together=8)))
    wake = WakeUps(redis.dsn)
    await wake.wake("check", "check:1")
    await until(lambda: steps, serving)
    await stopped(serving)
    await asyncio.gather(*tasks)
    assert steps == ["begun", "done"]
    await wake.close()


def job(id: str, **values: Any) -> JobRow:
    payload = jobs.CheckSelfie(selfie_id=id).model_dump(mode="json")
    row = {
        "kind": "check",
        "person_id": "p",
        "subject_id": id,
        "state": "queued",
        "created_at": 0.0,
        **values,
    }
    return JobRow(id=f"check:{id}", payload=payload, **row)


async def add(database: Database, *rows: JobRow) -> None:
    await database.run(lambda session: session.add_all(rows))


async def test_the_sweep_rings_for_what_nobody_heard_and_for_the_silent(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(
        database,
        job("waits", woken_at=100.0),
        job("just-rung", woken_at=195.0),
        job("runs", state="running", woken_at=100.0, heartbeat_at=199.0),
        job("silent", state="running", woken_at=100.0, heartbeat_at=120.0),
        job("done", state="done", woken_at=100.0),
    )
    wake, rung = WakeUps(f"unix://{tmp_path / 'none.sock'}"), []

    async def ring(kind: str, job_id: str) -> None:
        rung.append(job_id)

    monkeypatch.setattr(wake, "wake", ring)
    values = {"unheard_seconds": 30.0, "stale_seconds": 60.0}
    assert await wake.sweep(database, now=200.0, **values) == 2
    assert sorted(rung) == ["check:silent", "check:waits"]
    assert await wake.sweep(database, now=201.0, **values) == 0
    assert await wake.sweep(database, now=231.0, **values) == 3
    await wake.close()


async def test_what_dead_workers_of_this_machine_had_is_put_back_at_once(database: Database) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    node = me().split("/")[0]
    born = psutil.Process(process.pid).create_time()
    other = f"{node}/{process.pid}/{born:.2f}"
    now = time.time()
    await add(
        database,
        *(
            job(name, state="running", worker=worker, heartbeat_at=now)
            for name, worker in {"mine": me(), "other": other, "far": "elsewhere/1/1.00"}.items()
        ),
    )
    assert not is_dead(other)
    assert await release_dead(database) == 0
    process.kill()
    process.wait()
    assert is_dead(other)
    assert is_dead(f"{node}/{psutil.Process().pid}/1.00")  # a pid that was given again
    assert not is_dead("")
    assert await release_dead(database) == 1

    def states(session: Session) -> dict[str, str]:
        return {name: session.get_one(JobRow, f"check:{name}").state for name in ("mine", "other", "far")}

    assert await database.read(states) == {"mine": "running", "other": "queued", "far": "running"}


async def test_a_claim_fences(database: Database) -> None:
    await add(database, job("1"), job("2"))

    def claim(id: str, now: float, stale: float = 60.0) -> Any:
        return database.run(
            lambda session: work.claim(session, id=f"check:{id}", worker="w", now=now, stale_seconds=stale)
        )

    first = await claim("1", 100.0)
    assert first is not None
    assert await claim("1", 101.0) is None  # taken
    assert await claim("2", 101.0) is None  # one check of a person at a time
    assert await claim("none", 101.0) is None
    second = await claim("1", 200.0)  # its worker was silent
    assert second.attempt == 2
    assert await database.run(lambda session: work.beat(session, claim=first, now=200.0)) == "lost"
    assert await database.run(lambda session: work.beat(session, claim=second, now=200.0)) == "go on"
    assert await database.run(lambda session: work.give_back(session, claim=second, failed=True))
    assert (await claim("2", 201.0)).attempt == 1
    for attempt in range(2):
        again = await claim("1", 1000.0 * (attempt + 1))
        kept = await database.run(
            lambda session, again=again: work.give_back(session, claim=again, failed=True)
        )
        assert kept is (attempt == 0)
