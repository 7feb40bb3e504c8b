"""Jobs through a real Redis, a real arq and a process that speaks the engine's protocol; kills in between."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

import worker
from bot import jobs
from bot.config import Settings
from bot.conversation.types import FileRef, Person, State
from bot.jobs import unpack_event
from bot.service import Service
from bot.store import deletion, opinions, people, work
from bot.store.blobs import open_blobs
from bot.store.database import Database
from bot.store.effects import FILES
from bot.store.models import AdapterRow, DoomedRow, HeadshotRow, InboxRow, JobRow, PhotoRow, ShootRow
from bot.store.work import Claim
from tests.fakes import until
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis
FAKE = (sys.executable, str(Path(__file__).parent / "fake_engine.py"))


class Bench:
    """An installation with one person, and its worker."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        self.folder = folder
        self.settings = Settings.model_validate(
            {
                "bot": {"data_dir": folder},
                "queue": {"redis_url": redis.dsn, "sweep_seconds": 0.5, "stale_seconds": 3},
                "engine": {"base": "tiny"},
                "secrets": {"TELEGRAM_TOKEN": "123:abc"},
            }
        )
        self.database = Database(self.settings.database_url)
        self.blobs = open_blobs(self.settings)
        self.service: Service | None = None
        self.people_folder = ""

    async def start(self) -> None:
        self.service = worker.make(self.settings, FAKE)
        await self.service.open(self.service.kinds)

    async def stop(self) -> None:
        if self.service:
            await self.service.close()
            self.service = None

    async def arrive(self, who: str = "ann") -> None:
        person = Person("fake", who)
        state = State(f"fake:{who}", person)
        await self.database.run(lambda s: people.save_state(s, person=person, state=state, now=1.0) and None)
        self.people_folder = await self.database.run(lambda s: people.folder(s, person_id=f"fake:{who}"))

    async def photos(self, *words: str, status: str = "checking", who: str = "ann") -> None:
        """Fetched photos, each with its check."""

        def add(session: Session) -> None:
            for number, word in enumerate(words):
                id = f"{who}{number}"
                key = f"{self.people_folder}photos/{id}"
                self.blobs.put(key, f"{word}\n{id}".encode())
                session.add(
                    PhotoRow(
                        id=id,
                        person_id=f"fake:{who}",
                        number=number,
                        platform="fake",
                        file=FILES.dump_python(FileRef(id, {}), mode="json"),
                        status=status,
                        blob=key,
                        created_at=float(number),
                    )
                )
                if status == "checking":
                    payload = jobs.CheckSelfie(selfie_id=id)
                    work.add_job(
                        session, person_id=f"fake:{who}", subject_id=id, payload=payload, now=float(number)
                    )

        await self.database.run(add)

    async def training(self, id: str = "a1", who: str = "ann") -> None:
        def add(session: Session) -> None:
            ids = session.exec(select(PhotoRow.id).where(PhotoRow.person_id == f"fake:{who}")).all()
            session.add(
                AdapterRow(
                    id=id, person_id=f"fake:{who}", status="training", selfie_ids=list(ids), created_at=50.0
                )
            )
            payload = jobs.TrainAdapter(adapter_id=id, selfie_ids=tuple(ids))
            work.add_job(session, person_id=f"fake:{who}", subject_id=id, payload=payload, now=50.0)

        await self.database.run(add)

    async def shoot(self, id: str = "s1", adapter: str = "a1", who: str = "ann", **said: Any) -> None:
        def add(session: Session) -> None:
            values = {"person_id": f"fake:{who}", "adapter_id": adapter, "count": 2, "seed": 7}
            session.add(
                ShootRow(id=id, status="running", style="x", prompt="p", place={}, created_at=60.0, **values)
            )
            payload = jobs.MakeHeadshots(shoot_id=id, adapter_id=adapter, prompt="p", count=2, seed=7, **said)
            work.add_job(session, person_id=f"fake:{who}", subject_id=id, payload=payload, now=60.0)

        await self.database.run(add)

    async def rows(self, table: type[Any]) -> list[Any]:
        return list(await self.database.read(lambda session: session.exec(select(table)).all()))

    async def job(self, id: str) -> JobRow:
        return await self.database.read(lambda session: session.get_one(JobRow, id))

    async def ended(self, *ids: str, seconds: float = 90) -> list[str]:
        """The states of these jobs once all have ended."""
        for _ in range(int(seconds / 0.05)):
            states = [(await self.job(id)).state for id in ids]
            if not {"queued", "running"} & set(states):
                return states
            await asyncio.sleep(0.05)
        raise AssertionError(f"waited in vain: {states} {self.diary()}")

    async def when(self, id: str, state: str) -> None:
        for _ in range(1800):
            if (await self.job(id)).state == state:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{id} never was {state}")

    async def events(self) -> list[Any]:
        rows = sorted(await self.rows(InboxRow), key=lambda row: row.id)
        return [unpack_event(row.payload) for row in rows]

    def diary(self) -> list[str]:
        path = self.folder / "diary"
        return path.read_text().splitlines() if path.exists() else []

    def script(self, words: str) -> None:
        (self.folder / "script").write_text(words)

    async def quiet(self) -> None:
        """Nothing is left over: no scratch file, no doomed blob, no blob that no row mentions."""
        for _ in range(1000):
            if not list((self.folder / "work").glob("*")) and not await self.rows(DoomedRow):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"left over: {list((self.folder / 'work').rglob('*'))}")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
async def bench(tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setenv("FAKE_ENGINE_DIARY", str(tmp_path / "diary"))
    monkeypatch.setenv("FAKE_ENGINE_SCRIPT", str(tmp_path / "script"))
    monkeypatch.setenv("TELEGRAM_TOKEN", "123:abc")
    bench = Bench(tmp_path, redis)
    bench.database.migrate()
    await bench.arrive()
    yield bench
    await bench.stop()
    bench.database.close()


async def test_checks_of_one_person_see_those_before_them(bench: Bench) -> None:
    await bench.photos("good", "bad", "good")
    await bench.start()
    assert await bench.ended("check:ann0", "check:ann1", "check:ann2") == ["done"] * 3
    assert [line for line in bench.diary() if line.startswith("check")] == [
        "check ann0 ",
        "check ann1 ann0",
        "check ann2 ann0",
    ]
    assert "start tiny []" in bench.diary()  # the engine does not know the tokens
    photos = sorted(await bench.rows(PhotoRow), key=lambda photo: photo.number)
    assert [photo.status for photo in photos] == ["accepted", "refused", "accepted"]
    assert photos[1].problems == ["no_face"]
    await bench.quiet()
    assert bench.blobs.get(photos[0].clean_blob) == b"clean good\nann0"
    assert json.loads(bench.blobs.get(photos[0].facts_blob)) == {"hash": 9}
    assert photos[0].blob == ""
    assert len(list(bench.blobs.keys(4e9))) == 4  # what was sent is gone, and all of the refused one
    told = [event.verdicts[0] for event in await bench.events()]
    assert [(verdict.selfie_id, verdict.verdict) for verdict in told] == [
        ("ann0", "accepted"),
        ("ann1", "refused"),
        ("ann2", "accepted"),
    ]


async def test_from_selfies_to_headshots(bench: Bench) -> None:
    await bench.photos("good", "good")
    await bench.start()
    await bench.ended("check:ann0", "check:ann1")
    await bench.training()
    assert await bench.ended("train:a1") == ["done"]
    (adapter,) = await bench.rows(AdapterRow)
    assert (adapter.status, adapter.likeness, adapter.base) == ("ready", "good", "tiny")
    name = bench.people_folder.split("/")[1]
    assert bench.blobs.get(adapter.blob) == b"weights of " + name.encode()  # opaque: no chat account in it
    await bench.shoot()
    assert await bench.ended("shoot:s1") == ["done"]
    headshots = sorted(await bench.rows(HeadshotRow), key=lambda headshot: headshot.index)
    assert [bench.blobs.get(headshot.blob)[:9] for headshot in headshots] == [b"picture 0", b"picture 1"]
    events = await bench.events()
    assert [type(event).__name__ for event in events[2:]] == ["TrainingFinished", "ShootFinished"]
    assert events[-1].headshot_ids == ("s1.0", "s1.1")
    assert (events[-1].tried, events[-1].reached) == (4, 2)
    await bench.quiet()


async def test_a_worker_is_warm_for_what_it_began_or_trained(bench: Bench) -> None:
    await bench.photos("good", status="accepted")
    await bench.training()
    await bench.shoot()

    async def job(id: str) -> Claim:
        look = partial(work.waiting, id=id, now=time.time(), stale_seconds=60.0)
        found = await bench.database.read(look)
        assert found
        return found

    training, shoot = await job("train:a1"), await job("shoot:s1")
    idle = worker.make(bench.settings, FAKE)
    tool = idle._workshop._tool
    assert (tool.warm(training), tool.warm(shoot)) == (True, False)
    begun = replace(training, attempt=1)
    assert not tool.warm(begun)
    tool._scratch.folder(begun.name)
    assert tool.warm(begun)
    await idle.close()
    await bench.start()
    await bench.ended("train:a1")
    assert bench.service
    assert bench.service._workshop._tool.warm(shoot)


async def test_what_was_said_of_headshots_reaches_the_engine_at_the_next_shoot(bench: Bench) -> None:
    await bench.photos("good", "good")
    await bench.start()
    await bench.ended("check:ann0", "check:ann1")
    await bench.training()
    await bench.ended("train:a1")
    await bench.shoot()
    await bench.ended("shoot:s1")
    for number, liked in ((0, True), (1, False)):
        await bench.database.run(
            lambda session, number=number, liked=liked: opinions.record(
                session, person_id="fake:ann", headshot_id=f"s1.{number}", liked=liked, now=70.0
            )
        )
    await bench.shoot("s2", liked=("s1.0", "forgotten"), disliked=("s1.1",))
    assert await bench.ended("shoot:s2") == ["done"]
    assert "shoot 2 liked [[7]] disliked [[8]]" in bench.diary()
    await bench.quiet()


async def test_an_engine_that_dies_costs_a_pause(bench: Bench) -> None:
    bench.script("good crash")  # in the middle of the training
    await bench.photos("good", status="accepted")
    await bench.training()
    await bench.start()
    assert await bench.ended("train:a1") == ["done"]
    assert [line for line in bench.diary() if line.startswith("train")] == [
        "train a1 1 fresh",
        "train a1 1 resumed",
    ]
    job = await bench.job("train:a1")
    assert (job.attempt, job.failures) == (2, 1)
    assert [type(event).__name__ for event in await bench.events()] == ["TrainingFinished"]


async def test_a_photo_that_kills_the_engine_is_refused_in_the_end(bench: Bench) -> None:
    await bench.photos("crash", "good")
    await bench.start()
    assert await bench.ended("check:ann0", "check:ann1") == ["failed", "done"]
    verdicts = {event.verdicts[0].selfie_id: event.verdicts[0] for event in await bench.events()}
    assert (verdicts["ann0"].verdict, verdicts["ann0"].problems) == ("refused", ("unreadable",))
    assert verdicts["ann1"].verdict == "accepted"
    await bench.quiet()


@pytest.mark.parametrize(
    ("words", "reason"), [("fail", "not_enough_selfies"), ("retry " * 10, "out_of_memory")]
)
async def test_a_training_that_fails_is_told_once(words: str, reason: str, bench: Bench) -> None:
    bench.script(words)
    await bench.photos("good", status="accepted")
    await bench.training()
    await bench.start()
    assert await bench.ended("train:a1") == ["failed"]
    (event,) = await bench.events()
    assert (type(event).__name__, event.reason) == ("TrainingFailed", reason)
    (adapter,) = await bench.rows(AdapterRow)
    assert adapter.status == "failed"
    await bench.quiet()


async def test_a_shoot_whose_adapter_is_gone_is_told(bench: Bench) -> None:
    await bench.shoot(adapter="none")
    await bench.start()
    assert await bench.ended("shoot:s1") == ["failed"]
    (event,) = await bench.events()
    assert (type(event).__name__, event.reason) == ("ShootFailed", "adapter_missing")


async def test_cancelled_work_stops_and_nobody_is_told(bench: Bench) -> None:
    bench.script("hang")
    await bench.photos("good", status="accepted")
    await bench.training()
    await bench.start()
    await bench.when("train:a1", "running")
    await bench.database.run(lambda s: work.cancel(s, person_id="fake:ann", subject_id="a1", now=1.0))
    assert await bench.ended("train:a1") == ["cancelled"]
    assert await bench.events() == []
    await bench.quiet()


async def test_forgetting_a_person_stops_their_training_and_leaves_no_file(bench: Bench) -> None:
    bench.script("hang")
    await bench.photos("good", status="accepted")
    await bench.training()
    await bench.start()
    await bench.when("train:a1", "running")
    await bench.database.run(lambda session: deletion.forget(session, person_id="fake:ann"))
    await until(lambda: "cancel" in bench.diary())
    await bench.quiet()
    assert list(bench.blobs.keys(4e9)) == []
    assert await bench.rows(JobRow) == []
    assert await bench.events() == []


async def test_stopping_puts_back_what_was_in_hand_and_blames_nobody(bench: Bench) -> None:
    bench.script("good hang")
    await bench.photos("good", status="accepted")
    await bench.training()
    await bench.start()
    await bench.when("train:a1", "running")
    await until(lambda: any(line.startswith("train") for line in bench.diary()))
    await bench.stop()
    job = await bench.job("train:a1")
    assert (job.state, job.failures) == ("queued", 0)
    assert list((bench.folder / "work").glob("*/training/checkpoint"))  # to go on from
    bench.script("")
    await bench.start()
    assert await bench.ended("train:a1") == ["done"]
    assert bench.diary()[-1] == "train a1 1 resumed"
    await bench.quiet()


async def test_a_job_runs_once_however_often_it_is_rung_for(bench: Bench) -> None:
    await bench.photos("good")
    await bench.start()
    assert bench.service
    for _ in range(20):
        await bench.service._wake.wake("check", "check:ann0")
    await bench.ended("check:ann0")
    await asyncio.sleep(0.5)
    assert (await bench.job("check:ann0")).attempt == 1
    assert len(await bench.events()) == 1


async def test_a_redis_that_forgot_everything_loses_no_job(bench: Bench, redis: RedisServer) -> None:
    await bench.start()
    redis.stop()
    await bench.photos("good", "good")
    await asyncio.sleep(1)
    redis.start()
    assert await bench.ended("check:ann0", "check:ann1") == ["done", "done"]


RUN = """
import sys, worker
from bot.service import run
run(lambda settings: worker.make(settings, (sys.executable, sys.argv[1])))
"""


@pytest.mark.slow
async def test_a_worker_killed_outright_costs_a_pause(bench: Bench) -> None:
    """kill -9 on a worker's process in the middle of a training; the next one goes on from its checkpoint."""
    settings = bench.settings
    config = bench.folder / "config.toml"
    config.write_text(
        f'[bot]\ndata_dir = "{bench.folder}"\n[queue]\nredis_url = "{settings.redis_dsn}"\n'
        'sweep_seconds = 0.5\n[engine]\nbase = "tiny"\n'
    )
    bench.script("good hang")
    await bench.photos("good", status="accepted")
    await bench.training()
    environ = {**os.environ, "LIKENESS_CONFIG": str(config)}
    first = subprocess.Popen([sys.executable, "-c", RUN, FAKE[1]], env=environ)
    await until(lambda: any(line.startswith("train") for line in bench.diary()))
    first.send_signal(signal.SIGKILL)
    first.wait()
    bench.script("")
    second = subprocess.Popen([sys.executable, "-c", RUN, FAKE[1]], env=environ)
    assert await bench.ended("train:a1") == ["done"]
    assert bench.diary()[-1] == "train a1 1 resumed"
    assert [type(event).__name__ for event in await bench.events()][-1] == "TrainingFinished"
    second.terminate()
    assert second.wait(60) == 0


@pytest.mark.slow
async def test_arqs_own_command_serves_all_kinds(bench: Bench) -> None:
    await bench.photos("good")
    await bench.training()
    code = (
        "import sys, worker; worker.make.__defaults__ = ((sys.executable, sys.argv[1]),)\n"
        "from arq.worker import run_worker; run_worker(worker.WorkerSettings)"
    )
    config = bench.folder / "config.toml"
    config.write_text(
        f'[bot]\ndata_dir = "{bench.folder}"\n[queue]\nredis_url = "{bench.settings.redis_dsn}"\n'
        'sweep_seconds = 0.5\n[engine]\nbase = "tiny"\n'
    )
    environ = {**os.environ, "LIKENESS_CONFIG": str(config)}
    process = subprocess.Popen([sys.executable, "-c", code, FAKE[1]], env=environ, stderr=subprocess.DEVNULL)
    assert await bench.ended("check:ann0", "train:a1") == ["done", "done"]
    process.send_signal(signal.SIGTERM)
    process.wait(20)


def test_settings_are_read_when_they_are_asked_for() -> None:
    assert "WorkerSettings" not in vars(worker)
    with pytest.raises(AttributeError):
        _ = worker.NoSuchThing  # type: ignore[attr-defined]
