"""A worker's jobs in hand: claimed, kept alive, finished or put back. Knows nothing of what does them.

A job is claimed in one transaction and its result stored in another; between the two a sign of life goes to
its row every second, and comes back with whether anybody still wants it.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Protocol

from bot import queueing
from bot.config import QueueSettings
from bot.conversation.types import TrainingProgressed
from bot.errors import BlobMissing, LikenessError, ServiceUnavailable
from bot.log import about
from bot.queueing import WakeUps
from bot.store import results, work
from bot.store.database import Database
from bot.store.work import Claim

log = logging.getLogger(__name__)

# Of a worker that is not alone: what it could not work on soon, another may begin at once.
IN_HAND_MAX = {"train": 1, "shoot": 2}
STEP_SECONDS = 0.2  # how long one is given to answer who has less in hand, or has the adapter near its GPU
TELL_SECONDS = 2.0
BEAT_SECONDS = 1.0
TEND_SECONDS_MAX = 30.0

Tell = Callable[[TrainingProgressed], None]


class TryAgain(LikenessError):
    """The job was not done and may be done later. `failure`: it counts; too many of them end the job."""

    def __init__(self, reason: str, *, failure: bool) -> None:
        super().__init__(reason)
        self.reason, self.failure = reason, failure


class GiveUp(LikenessError):
    """The job cannot be done, now or later (reason: a code of `engine.errors`, or `adapter_missing`)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Tool(Protocol):
    """What does the jobs."""

    async def ready(self) -> bool:
        """Wait until jobs can be done; False if that will not be any more."""

    async def perform(self, claim: Claim, tell: Tell) -> bool:
        """Do a job and store its result; False if nobody wanted that any more. Raises TryAgain, GiveUp."""

    def warm(self, job: Claim) -> bool:
        """Whether this worker would begin sooner than another that has as much in hand."""

    async def stop(self, claim: Claim) -> None:
        """Have a job that is being done stopped: its `perform` ends soon."""

    async def clear(self, claim: Claim) -> None:
        """The job is over for this worker and will not go on here."""

    async def tend(self) -> None:
        """Called now and then."""


class Workshop:
    """The jobs that one worker has in hand."""

    def __init__(self, database: Database, wake: WakeUps, tool: Tool, settings: QueueSettings) -> None:
        self._database, self._wake, self._tool, self._settings = database, wake, tool, settings
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._in_hand: Counter[str] = Counter()
        self._deciding = asyncio.Lock()  # so that what is in hand is known

    async def do(self, job_id: str) -> None:
        """Look at a job, and do it if it waits. The work goes on when the caller is cancelled."""
        await asyncio.shield(self._begin(job_id, offered=False))

    async def listen(self) -> None:
        """Do what other workers offer, until cancelled."""
        if await self._tool.ready():
            await self._wake.listen(partial(self._begin, offered=True))

    async def tend(self) -> None:
        """Find what was lost, until cancelled: jobs of dead workers, wake-ups that nobody heard."""
        settings = self._settings
        while True:
            try:
                await queueing.release_dead(self._database)
                await self._wake.sweep(
                    self._database,
                    unheard_seconds=settings.sweep_seconds,
                    stale_seconds=settings.stale_seconds,
                )
                await self._tool.tend()
            except (ServiceUnavailable, OSError) as error:
                log.error("the sweep waits: %s", error)
            await asyncio.sleep(min(TEND_SECONDS_MAX, settings.sweep_seconds, settings.stale_seconds / 2))

    def closing(self) -> None:
        """Take nothing more; from now on what ends without a result is nobody's fault."""
        self._closing.set()

    async def close(self) -> None:
        """Wait for what is in hand; the tool must have been told to stop."""
        self.closing()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, job_id: str, *, offered: bool) -> asyncio.Task[None]:
        task = asyncio.create_task(self._do_all(job_id, offered))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _do_all(self, job_id: str, offered: bool) -> None:
        """The job, and after it what waits behind it."""
        if not await self._tool.ready():
            return
        claim = await self._take(job_id, offered)
        if claim is None and not offered and job_id.startswith("train:"):
            await self._tell_place(job_id)
        while claim is not None:
            try:
                with about(job_id=claim.id, stage=claim.kind):
                    over = await self._do(claim)
            finally:
                self._in_hand[claim.kind] -= 1
            claim = await self._next(claim) if over and await self._tool.ready() else None

    async def _take(self, job_id: str, others: bool) -> Claim | None:
        """The job, if no other worker had better do it.

        A worker that has nothing in hand and is warm takes it at once. Any other first asks whether there are
        more workers, and where there are it waits a moment for them, the longer the more it has in hand.
        others: it is known that there are.
        """
        waited = 0.0
        while True:
            async with self._deciding:
                pause = await self._pause(job_id)
                if pause is None:
                    return None
                if pause > waited:
                    others = others or await self._wake.offer(job_id)
                if pause <= waited or not others:
                    return await self._claim(job_id)
                kind = job_id.partition(":")[0]
                if self._in_hand[kind] >= IN_HAND_MAX[kind]:
                    return None  # whoever ends one looks for the next
            await asyncio.sleep(pause - waited)
            waited = pause

    async def _pause(self, job_id: str) -> float | None:
        """Seconds that other workers are given to take a job first; None where it does not wait."""
        if job_id.startswith("check:"):
            return 0.0
        stale_seconds = self._settings.stale_seconds
        look = partial(work.waiting, id=job_id, now=time.time(), stale_seconds=stale_seconds)
        job = await self._database.insist(look)
        if job is None:
            return None
        return STEP_SECONDS * (
            2 * sum(self._in_hand[kind] for kind in IN_HAND_MAX) + (not self._tool.warm(job))
        )

    async def _next(self, done: Claim) -> Claim | None:
        """What waits behind a job that is over, though another worker may reach for the same."""
        while following := await self._database.insist(partial(work.following, claim=done)):
            claim = await self._claim(following)
            if claim is not None or done.kind == "check" or self._closing.is_set():
                return claim  # a check waits also where another of the person runs: whoever has that goes on
        return None

    async def _tell_place(self, job_id: str) -> None:
        """Every worker has its hands full, or another begins it within a moment."""
        if await self._pause(job_id) is not None:
            await asyncio.sleep(TELL_SECONDS)
            await self._database.insist(partial(results.waits, id=job_id, now=time.time()))

    async def _claim(self, job_id: str) -> Claim | None:
        if self._closing.is_set():
            return None
        claim = await self._database.insist(
            partial(
                work.claim,
                id=job_id,
                worker=queueing.me(),
                now=time.time(),
                stale_seconds=self._settings.stale_seconds,
            )
        )
        if claim is not None:
            self._in_hand[claim.kind] += 1
        return claim

    async def _do(self, claim: Claim) -> bool:
        """See it through; whether the job is over, or may go on."""
        begun, news = time.monotonic(), list[TrainingProgressed]()
        beating = asyncio.create_task(self._beat(claim, news))
        try:
            outcome = await self._attempt(claim, news.append)
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
        over = await self._database.insist(partial(work.is_over, claim=claim))
        if over:
            await self._tool.clear(claim)
        duration_ms = round((time.monotonic() - begun) * 1000)
        log.info("job", extra={"outcome": outcome, "attempt": claim.attempt, "duration_ms": duration_ms})
        return over

    async def _attempt(self, claim: Claim, tell: Tell) -> str:
        """Have the job done; what became of it, in a word for the log."""
        try:
            if claim.exhausted:
                raise GiveUp("engine_failed")
            done = await self._tool.perform(claim, tell)
            return "done" if done else await self._fail(claim, "cancelled")
        except TryAgain as error:
            return await self._again(claim, error)
        except GiveUp as error:
            return await self._fail(claim, error.reason)
        except BlobMissing as error:
            log.error("a file is missing", extra={"key": error.key})
            return await self._fail(claim, "adapter_missing" if claim.kind == "shoot" else "engine_failed")
        except (ServiceUnavailable, OSError) as error:
            log.error("a job waits: %s", error)
            return await self._again(claim, TryAgain("service_unavailable", failure=False))
        except Exception:
            log.exception("a job failed unexpectedly")
            return await self._again(claim, TryAgain("engine_failed", failure=True))

    async def _again(self, claim: Claim, why: TryAgain) -> str:
        """Put the job back; after too many failures it is over."""
        failure = why.failure and not self._closing.is_set()
        if not await self._database.insist(
            partial(work.give_back, claim=claim, failed=failure, reason=why.reason)
        ):
            return await self._fail(claim, why.reason)
        if why.reason == "engine_gone" and not self._closing.is_set():
            await self._wake.wake(claim.kind, claim.id)  # anything else waits for the sweep
        return f"again: {why.reason}"

    async def _fail(self, claim: Claim, reason: str) -> str:
        write = partial(results.failed, claim=claim, reason=reason, now=time.time())
        return f"failed: {reason}" if await self._database.insist(write) else "not wanted"

    async def _beat(self, claim: Claim, news: list[TrainingProgressed]) -> None:
        """Signs of life until cancelled, and how far a training is."""
        told: TrainingProgressed | None = None
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            with contextlib.suppress(ServiceUnavailable):  # silence for a while is borne
                word = await self._database.run(partial(work.beat, claim=claim, now=time.time()))
                if word != "go on":
                    await self._tool.stop(claim)
                elif news and news[-1] != told:
                    told = news[-1]
                    await self._database.run(
                        partial(results.progressed, claim=claim, event=told, now=time.time())
                    )
                del news[:-1]
