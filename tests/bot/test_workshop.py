"""Jobs in hand: signs of life, faults of every kind, and results that wait for the database."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlmodel import Session

from bot import jobs, workshop
from bot.config import QueueSettings
from bot.conversation.types import Person, State, TrainingFailed, TrainingFinished, TrainingProgressed
from bot.errors import BlobMissing, ServiceUnavailable
from bot.jobs import unpack_event
from bot.store import people, results, work
from bot.store.database import Database
from bot.store.models import AdapterRow, InboxRow, JobRow
from bot.store.work import ATTEMPTS_MAX, Claim
from bot.workshop import GiveUp, Tell, TryAgain, Workshop
from tests.fakes import SilentWake

Act = Callable[[Claim, Tell], Awaitable[bool]]


class Hammer:
    """A tool that does what it is told."""

    def __init__(self, act: Act) -> None:
        self.act, self.stopped, self.cleared = act, asyncio.Event(), list[str]()

    async def ready(self) -> bool:
        return True

    async def perform(self, claim: Claim, tell: Tell) -> bool:
        return await self.act(claim, tell)

    def warm(self, job: Claim) -> bool:
        return True

    async def stop(self, claim: Claim) -> None:
        self.stopped.set()

    async def clear(self, claim: Claim) -> None:
        self.cleared.append(claim.name)

    async def tend(self) -> None:
        pass


@pytest.fixture(autouse=True)
async def one_training(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop, "BEAT_SECONDS", 0.02)

    def add(session: Session) -> None:
        person = Person("fake", "ann")
        people.save_state(session, person=person, state=State("fake:ann", person), now=1.0)
        adapter = {
            "id": "a1",
            "person_id": "fake:ann",
            "status": "training",
            "selfie_ids": [],
            "created_at": 1.0,
        }
        session.add(AdapterRow(**adapter))
        payload = jobs.TrainAdapter(adapter_id="a1", selfie_ids=())
        work.add_job(session, person_id="fake:ann", subject_id="a1", payload=payload, now=1.0)

    await database.run(add)


async def do(database: Database, act: Act, wake: SilentWake | None = None) -> tuple[Hammer, JobRow]:
    hammer = Hammer(act)
    shop = Workshop(database, wake or SilentWake(), hammer, QueueSettings())  # type: ignore[arg-type]
    await shop.do("train:a1")
    await shop.close()
    return hammer, await database.read(lambda session: session.get_one(JobRow, "train:a1"))


async def events(database: Database) -> list[Any]:
    from sqlmodel import select

    rows = await database.read(lambda session: session.exec(select(InboxRow)).all())
    return [unpack_event(row.payload) for row in rows]


def raising(error: Exception) -> Act:
    async def act(claim: Claim, tell: Tell) -> bool:
        raise error

    return act


async def test_a_fault_of_time_is_tried_again_and_keeps_the_files(
    database: Database, wake: SilentWake
) -> None:
    hammer, job = await do(database, raising(TryAgain("engine_gone", failure=True)), wake)
    assert (job.state, job.failures, hammer.cleared) == ("queued", 1, [])
    assert wake.rung == [("train", "train:a1")]
    assert await events(database) == []


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (GiveUp("not_enough_selfies"), "failed", "not_enough_selfies"),
        (BlobMissing("photos/1"), "failed", "engine_failed"),
        (GiveUp("cancelled"), "cancelled", ""),
    ],
)
async def test_a_fault_for_good_ends_the_job(
    error: Exception, state: str, reason: str, database: Database
) -> None:
    hammer, job = await do(database, raising(error))
    assert job.state == state
    assert len(hammer.cleared) == 1
    assert [event.reason for event in await events(database)] == ([reason] if reason else [])


@pytest.mark.parametrize(
    ("error", "failures"),
    [(OSError(28, "full"), 0), (ServiceUnavailable("x", "y"), 0), (TypeError("bug"), 1)],
)
async def test_nothing_that_is_raised_ends_the_worker(
    error: Exception, failures: int, database: Database
) -> None:
    _, job = await do(database, raising(error))
    assert (job.state, job.failures) == ("queued", failures)


async def test_too_many_failures_are_the_end(database: Database) -> None:
    for _ in range(work.FAILURES_MAX["train"]):
        _, job = await do(database, raising(TryAgain("out_of_memory", failure=True)))
    assert job.state == "failed"
    assert [event.reason for event in await events(database)] == ["out_of_memory"]


async def test_a_job_that_ended_every_worker_is_not_begun_again(database: Database) -> None:
    def wear_out(session: Session) -> None:
        session.get_one(JobRow, "train:a1").attempt = ATTEMPTS_MAX

    await database.run(wear_out)
    _, job = await do(database, raising(AssertionError("it must not be begun")))
    assert job.state == "failed"


async def tell_and_see(database: Database, claim: Claim, tell: Tell, fraction: float) -> None:
    """Returns once the workshop has written it down."""
    event = TrainingProgressed("a1", "training", fraction, eta_seconds=float(claim.attempt))
    tell(event)
    while await events(database) != [event]:
        await asyncio.sleep(0.002)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop, "BEAT_SECONDS", 0.002)


@pytest.mark.slow
@pytest.mark.parametrize("failure", [True, False])
async def test_a_training_that_gets_on_may_be_interrupted_any_number_of_times(
    failure: bool, database: Database, quick: None
) -> None:
    finished = TrainingFinished("a1", 60.0, "good")

    async def act(claim: Claim, tell: Tell) -> bool:
        await tell_and_see(database, claim, tell, (claim.attempt - 1) / 200)  # the checkpoint is behind
        await tell_and_see(database, claim, tell, (claim.attempt + 1) / 200)
        if claim.attempt <= 100:
            raise TryAgain("engine_gone", failure=failure)
        stored = {"blob": "b", "base": "b", "event": finished, "facts": {}}
        return await database.run(lambda session: results.trained(session, claim=claim, now=2.0, **stored))

    for _ in range(101):
        _, job = await do(database, act)
    assert (job.state, job.attempt) == ("done", 101)
    assert await events(database) == [finished]


@pytest.mark.slow
@pytest.mark.parametrize("fractions", [(0.0,), (0.3,), (0.3, 0.1, 0.2, 0.3)])
@pytest.mark.parametrize("failure", [True, False])
async def test_a_training_that_gets_no_further_is_given_up(
    fractions: tuple[float, ...], failure: bool, database: Database, quick: None
) -> None:
    """Also where it falls back and comes as far again."""
    begun: list[int] = []

    async def act(claim: Claim, tell: Tell) -> bool:
        await tell_and_see(database, claim, tell, fractions[len(begun) % len(fractions)])
        begun.append(claim.attempt)
        raise TryAgain("engine_failed", failure=failure)

    for _ in range(ATTEMPTS_MAX + 10):
        _, job = await do(database, act)
    most = work.FAILURES_MAX["train"] if failure else ATTEMPTS_MAX + (max(fractions) > 0)
    assert (job.state, begun) == ("failed", list(range(1, most + 1)))
    assert await events(database) == [TrainingFailed("a1", "engine_failed")]


async def test_progress_is_told_and_only_the_newest(database: Database) -> None:
    async def act(claim: Claim, tell: Tell) -> bool:
        for fraction in (0.1, 0.2, 0.3):
            tell(TrainingProgressed("a1", "training", fraction))
        while not await events(database):
            await asyncio.sleep(0.01)
        for fraction in (0.4, 0.5):
            tell(TrainingProgressed("a1", "training", fraction))
        while (await events(database))[-1].fraction < 0.5:
            await asyncio.sleep(0.01)
        raise TryAgain("later", failure=False)

    await do(database, act)
    assert [event.fraction for event in await events(database)] == [0.5]


async def test_a_job_that_was_taken_away_is_stopped_and_changes_nothing(database: Database) -> None:
    hammer = Hammer(raising(AssertionError))

    async def act(claim: Claim, tell: Tell) -> bool:
        def steal(session: Session) -> None:
            session.get_one(JobRow, "train:a1").attempt += 1

        await database.run(steal)
        await asyncio.wait_for(hammer.stopped.wait(), 60)
        raise GiveUp("cancelled")

    hammer.act = act
    shop = Workshop(database, SilentWake(), hammer, QueueSettings())  # type: ignore[arg-type]
    await shop.do("train:a1")
    job = await database.read(lambda session: session.get_one(JobRow, "train:a1"))
    assert (job.state, job.attempt) == ("running", 2)
    assert hammer.cleared == []  # the other one's files may be these


async def test_a_result_waits_for_the_database(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run, outage = database.run, [1, 2, 3]

    async def sometimes(fn: Any) -> Any:
        if outage:
            outage.pop()
            raise ServiceUnavailable("The database", "Start it")
        return await run(fn)

    monkeypatch.setattr("bot.store.database.OUTAGE_SECONDS", 0.01)

    async def act(claim: Claim, tell: Tell) -> bool:
        monkeypatch.setattr(database, "run", sometimes)
        raise GiveUp("not_enough_selfies")

    _, job = await do(database, act)
    assert job.state == "failed"
