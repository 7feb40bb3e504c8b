"""Several workers at one database and one Redis: who takes what, without any list of who is there."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlmodel import Session, select

from bot import jobs, queueing, workshop
from bot.config import QueueSettings
from bot.conversation.types import Person, State
from bot.jobs import unpack_event
from bot.queueing import WakeUps
from bot.store import people, results, work
from bot.store.database import Database
from bot.store.models import InboxRow, JobRow
from bot.store.work import Claim
from bot.workshop import IN_HAND_MAX, STEP_SECONDS, Tell, TryAgain, Workshop
from tests.bot.store.databases import KINDS, empty_url
from tests.fakes import until
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis


class Worker:
    """A workshop whose tool holds every job until it is let go; `warm_for` are adapters near its GPU."""

    def __init__(self, name: str, url: str, dsn: str) -> None:
        self.name, self.database, self.wake = name, Database(url), WakeUps(dsn)
        self.shop = Workshop(self.database, self.wake, self, QueueSettings())
        self.begun: list[str] = []
        self.in_hand: set[str] = set()
        self.warm_for: set[str] = set()
        self.gates: dict[str, asyncio.Event] = {}
        self.hold, self.fails = True, False
        self.listening: asyncio.Task[None] | None = None

    async def open(self, *, listens: bool = True) -> "Worker":
        if listens:
            self.listening = asyncio.create_task(self.shop.listen())
        return self

    async def close(self) -> None:
        """As a worker that dies: nothing is heard any more."""
        self.shop.closing()
        if self.listening:
            self.listening.cancel()
            await asyncio.gather(self.listening, return_exceptions=True)
        self.let_go(*self.in_hand)
        await self.shop.close()
        await self.wake.close()
        self.database.close()

    def let_go(self, *ids: str) -> None:
        for id in ids:
            self.gates.setdefault(id, asyncio.Event()).set()

    def ring(self, *ids: str) -> list["asyncio.Task[None]"]:
        """As arq does, to this worker alone."""
        return [asyncio.create_task(self.shop.do(id)) for id in ids]

    async def ready(self) -> bool:
        return True

    async def perform(self, claim: Claim, tell: Tell) -> bool:
        self.begun.append(claim.id)
        if self.fails:
            raise TryAgain("service_unavailable", failure=False)
        self.in_hand.add(claim.id)
        if isinstance(claim.payload, jobs.MakeHeadshots):
            self.warm_for.add(claim.payload.adapter_id)
        if self.hold:
            await self.gates.setdefault(claim.id, asyncio.Event()).wait()
        self.in_hand.discard(claim.id)
        return await self.database.run(partial(results.failed, claim=claim, reason="cancelled", now=9.0))

    def warm(self, job: Claim) -> bool:
        return not isinstance(job.payload, jobs.MakeHeadshots) or job.payload.adapter_id in self.warm_for

    async def stop(self, claim: Claim) -> None:
        pass

    async def clear(self, claim: Claim) -> None:
        pass

    async def tend(self) -> None:
        pass


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.stop()


Hire = Callable[..., Awaitable[Worker]]


@pytest.fixture(params=KINDS)
async def hire(request: pytest.FixtureRequest, tmp_path: Path, redis: RedisServer) -> AsyncIterator[Hire]:
    """Workers of one installation, each with its own way to the database."""
    workers: list[Worker] = []
    with empty_url(request.param, tmp_path) as url:

        async def hire(name: str) -> Worker:
            worker = Worker(name, url, redis.dsn)
            await asyncio.to_thread(worker.database.migrate)
            workers.append(await worker.open())
            await until(lambda: worker.wake._listening)
            return worker

        yield hire
        for worker in workers:
            await worker.close()


async def ask(worker: Worker, kind: str, *names: str, who: str = "") -> list[str]:
    """Jobs, each of a person of its own unless it is said whose; their ids."""

    def add(session: Session) -> list[str]:
        made = []
        for name in names:
            payload: jobs.TrainAdapter | jobs.MakeHeadshots = jobs.TrainAdapter(
                adapter_id=name, selfie_ids=()
            )
            if kind == "shoot":
                adapter = f"adapter of {who or name}"
                payload = jobs.MakeHeadshots(shoot_id=name, adapter_id=adapter, prompt="p", count=1, seed=1)
            person = f"fake:{who or name}"
            add_job = partial(work.add_job, session, payload=payload, now=time.time())
            made.append(add_job(person_id=person, subject_id=name).job_id)
        return made

    return await worker.database.run(add)


async def states(worker: Worker) -> Counter[str]:
    rows = await worker.database.read(lambda session: session.exec(select(JobRow.state)).all())
    return Counter(rows)


async def test_one_worker_takes_all_that_arq_gives_it(hire: Hire) -> None:
    alone = await hire("a")
    ids = await ask(alone, "train", *"12345678")
    began = time.monotonic()
    alone.ring(*ids)
    await until(lambda: len(alone.in_hand) == 8)
    assert time.monotonic() - began < 8 * STEP_SECONDS


async def test_a_burst_of_trainings_leaves_nobody_idle_and_nobody_with_two(hire: Hire) -> None:
    first, second, third = [await hire(name) for name in "abc"]
    ids = await ask(first, "train", *"1234567")
    first.ring(*ids)  # one worker hears all
    await until(lambda: all(each.in_hand for each in (first, second, third)))
    await asyncio.sleep(0.5)
    assert [len(each.in_hand) for each in (first, second, third)] == [1, 1, 1]
    assert await states(first) == {"running": 3, "queued": 4}
    assert {*first.begun, *second.begun, *third.begun} == set(ids[:3])
    third.hold = False
    third.let_go(*third.in_hand)  # whoever ends one goes on with what waits, in its order
    await until(lambda: len(third.begun) == 5)
    assert third.begun[1:] == ids[3:]


async def test_workers_that_reach_for_the_same_job_both_go_on(hire: Hire) -> None:
    workers = [await hire(name) for name in "abc"]
    ids = await ask(workers[0], "train", *(f"{number:02}" for number in range(6)))
    workers[0].ring(*ids)
    await until(lambda: all(worker.in_hand for worker in workers))
    look = work.following
    seen: list[str | None] = []

    def all_see_the_same(session: Session, *, claim: Claim) -> str | None:
        seen.append(look(session, claim=claim))
        return seen[0] if len(seen) <= 3 else seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "following", all_see_the_same)
        for worker in workers:
            worker.let_go(*worker.in_hand)
        await until(lambda: sum(len(worker.begun) for worker in workers) == 6)
    # Who comes late, under load, finds them taken: what is promised is that each is begun, and once.
    assert sorted(job for worker in workers for job in worker.begun) == sorted(ids)
    assert sum(len(worker.in_hand) for worker in workers) == 3


async def test_who_waits_for_a_worker_is_told_how_many_are_before(
    hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop, "TELL_SECONDS", 0.5)
    first, second = await hire("a"), await hire("b")
    ids = await ask(first, "train", *"1234")

    def arrive(session: Session) -> None:
        for name in "1234":
            person = Person("fake", name)
            people.save_state(session, person=person, state=State(f"fake:{name}", person), now=1.0)

    await first.database.run(arrive)
    await asyncio.wait(first.ring(*ids)[2:])

    def told(session: Session) -> list[InboxRow]:
        return list(session.exec(select(InboxRow).order_by(InboxRow.person_id)).all())

    events = [unpack_event(row.payload) for row in await second.database.read(told)]
    assert [(event.adapter_id, event.stage, event.ahead) for event in events] == [
        ("3", "queued", 2),
        ("4", "queued", 3),
    ]


async def test_what_waits_goes_first_to_people_who_have_nothing_in_hand(hire: Hire) -> None:
    only, other = await hire("a"), await hire("b")
    for worker in (only, other):
        for _ in range(IN_HAND_MAX["shoot"]):
            shoots = await ask(worker, "shoot", f"{worker.name}{_}", who="ann")
            worker.ring(*shoots)
            await until(lambda shoots=shoots: shoots[0] in {*only.in_hand, *other.in_hand})
    waiting = [*await ask(only, "shoot", "ann's next", who="ann"), *await ask(only, "shoot", "bob's")]
    only.ring(*waiting)
    await asyncio.sleep(0.5)
    assert await states(only) == {"running": 4, "queued": 2}
    only.let_go(next(iter(only.in_hand)))
    await until(lambda: only.begun[-1] == waiting[1])


@pytest.mark.parametrize("hears", ["warm", "cold"])
async def test_a_shoot_goes_where_its_adapter_is_warm(hears: str, hire: Hire) -> None:
    warm, cold = await hire("warm"), await hire("cold")
    warm.warm_for.add("adapter of 1")
    (id,) = await ask(warm, "shoot", "1")
    (warm if hears == "warm" else cold).ring(id)
    await until(lambda: warm.in_hand or cold.in_hand)
    assert (warm.begun, cold.begun) == ([id], [])


async def test_a_warm_worker_that_has_more_in_hand_leaves_it_to_an_idle_one(hire: Hire) -> None:
    warm, cold = await hire("warm"), await hire("cold")
    (training,) = await ask(warm, "train", "1")
    warm.ring(training)
    await until(lambda: warm.in_hand)
    warm.warm_for.add("adapter of 2")
    (shoot,) = await ask(warm, "shoot", "2")
    warm.ring(shoot)
    await until(lambda: cold.in_hand)
    assert warm.begun == [training]


async def test_a_warm_worker_that_died_costs_a_moment(hire: Hire) -> None:
    warm, cold, other = await hire("warm"), await hire("cold"), await hire("other")
    warm.warm_for.add("adapter of 1")
    await warm.close()
    (id,) = await ask(cold, "shoot", "1")
    began = time.monotonic()
    cold.ring(id)
    await until(lambda: cold.in_hand or other.in_hand)
    assert STEP_SECONDS <= time.monotonic() - began < 10 * STEP_SECONDS


async def test_what_was_put_back_waits_for_the_sweep(hire: Hire) -> None:
    """The same worker would fail again at once, until the attempts are used up."""
    broken = await hire("a")
    broken.fails = True
    ids = await ask(broken, "shoot", "1", "2")
    await asyncio.gather(*broken.ring(*ids))
    assert sorted(broken.begun) == ids
    assert await states(broken) == {"queued": 2}


async def test_without_redis_everybody_works_as_if_alone(hire: Hire, redis: RedisServer) -> None:
    worker, other = await hire("a"), await hire("b")
    redis.stop()
    ids = await ask(worker, "train", *"123")
    worker.ring(*ids)
    await until(lambda: len(worker.in_hand) == 3)
    assert other.begun == []


async def test_a_listener_comes_back_after_redis_was_away(
    hire: Hire, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "QUIET_SECONDS", 0.1)
    worker, other = await hire("a"), await hire("b")
    redis.stop()
    await until(lambda: not other.wake._listening)
    redis.start()
    await until(lambda: other.wake._listening)
    ids = await ask(worker, "train", *"12")
    worker.ring(*ids)
    await until(lambda: other.in_hand)


@pytest.mark.parametrize("told", [True, False])
async def test_most_shoots_land_warm(told: bool, hire: Hire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve people come back five times each; whoever looks first hears, as in arq."""
    workers = [await hire("a"), await hire("b")]
    dice, warm = random.Random(3), 0
    for worker in workers:
        worker.hold = False
        if not told:
            monkeypatch.setattr(worker.shop, "_pause", lambda id: asyncio.sleep(0, 0.0))
    for number in range(60):
        who = f"person {number % 12}"
        knew = [worker for worker in workers if f"adapter of {who}" in worker.warm_for]
        (id,) = await ask(workers[0], "shoot", str(number), who=who)
        dice.choice(workers).ring(id)
        await until(lambda id=id: any(id in worker.begun for worker in workers))
        await until(lambda: not any(worker.shop._in_hand.total() for worker in workers))
        warm += any(id in worker.begun for worker in knew)
    assert warm >= 46 if told else warm <= 42, f"{warm} of 48"
