"""Redis as the bell: it says that there may be work, and may be late, silent or wrong about it.

Every wake-up has a name of its own, because arq swallows one whose name it still knows; that there is work
stands in the job rows, and a sweep rings again for those that nobody took.

arq gives each wake-up to one worker, whichever looks first. One that would rather leave the job to another
offers it to all that listen. Redis says how many those are: nobody keeps a list of workers.
"""

import asyncio
import contextlib
import functools
import json
import logging
import platform
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
import redis
import redis.asyncio
from arq.connections import ArqRedis, RedisSettings
from arq.constants import in_progress_key_prefix
from arq.worker import Worker, func
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from bot.jobs import QUEUES
from bot.store import work
from bot.store.database import Database

log = logging.getLogger(__name__)

FUNCTION = "work"
EXPIRES_SECONDS = 30 * 24 * 3600
LEASE_SECONDS = 60.0  # a killed worker holds a wake-up no longer
QUIET_SECONDS = 5.0  # after a failure, nothing is tried for so long
POLL_SECONDS = 0.1
HEALTH_SECONDS = 15.0  # how soon a connection that died silently is noticed
CLOSE_SECONDS = 2.0
_SILENT = (redis.RedisError, OSError)

Run = Callable[[str], Awaitable[None]]


def redis_settings(dsn: str) -> RedisSettings:
    """For a worker: it outlives a restart of Redis."""
    settings = RedisSettings.from_dsn(dsn)
    settings.conn_retries, settings.conn_timeout = 60, 2
    settings.retry = Retry(ExponentialBackoff(cap=2, base=0.1), 40)
    settings.retry_on_error = [redis.ConnectionError, redis.TimeoutError, OSError]
    settings.retry_on_timeout = True
    return settings


class WakeUps:
    """Rings. Never fails and never waits long: what is not rung for now, a sweep rings for later."""

    def __init__(self, dsn: str) -> None:
        self._dsn, self._redis = dsn, _quick_client(dsn)
        self._silent_until = 0.0
        self._name, self._listening = secrets.token_hex(8), False
        # Channels know nothing of a server's numbered databases.
        self._channel = f"likeness:offers:{RedisSettings.from_dsn(dsn).database}"

    async def wake(self, kind: str, job_id: str) -> None:
        """Say that there is a job of this kind."""
        if time.monotonic() < self._silent_until:
            return
        try:
            await self._redis.enqueue_job(
                FUNCTION,
                job_id,
                _job_id=f"{job_id}:{secrets.token_hex(6)}",
                _queue_name=QUEUES[kind],
                _expires=EXPIRES_SECONDS,
            )
        except _SILENT as error:
            self._give_up_for_now(error)

    async def offer(self, job_id: str) -> bool:
        """Tell the other workers of a job; whether there is one that hears it."""
        if time.monotonic() < self._silent_until:
            return False
        try:
            heard: int = await self._redis.publish(self._channel, f"{self._name} {job_id}")
        except _SILENT as error:
            self._give_up_for_now(error)
            return False
        return heard > self._listening

    async def listen(self, hear: Callable[[str], object]) -> None:
        """Call `hear` with each job that another worker offers, until cancelled. To miss one is no loss."""
        while True:
            client = redis.asyncio.Redis.from_url(self._dsn, health_check_interval=HEALTH_SECONDS)
            try:
                async with client, client.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(self._channel)
                    self._listening = True
                    while True:
                        message = await channel.get_message(timeout=HEALTH_SECONDS)
                        who, _, job_id = message["data"].decode().partition(" ") if message else ("", "", "")
                        if job_id and who != self._name:
                            hear(job_id)
            except _SILENT:
                await asyncio.sleep(1)
            finally:
                self._listening = False

    async def sweep(
        self, database: Database, *, unheard_seconds: float, stale_seconds: float, now: float | None = None
    ) -> int:
        """Ring for every job that waits unheard or whose worker is silent; for how many."""
        at = time.time() if now is None else now
        wakes = await database.run(
            lambda session: work.due(
                session, now=at, unheard_seconds=unheard_seconds, stale_seconds=stale_seconds
            )
        )
        for wake in wakes:
            await self.wake(wake.kind, wake.job_id)
        return len(wakes)

    def _give_up_for_now(self, error: Exception) -> None:
        self._silent_until = time.monotonic() + QUIET_SECONDS
        log.warning("Redis does not answer: the sweep will ring", extra={"problem": type(error).__name__})

    async def close(self) -> None:
        """Disconnect; safe to call twice."""
        with contextlib.suppress(*_SILENT):
            await self._redis.aclose(close_connection_pool=True)


def arq_options(dsn: str, kind: str, run: Run, *, together: int) -> dict[str, Any]:
    """How arq serves one kind of job, `together` of them at once.

    Where arq gives up waiting for `run` (it is stopped, or Redis is away for long), `run` goes on.
    """

    async def ring(ctx: dict[str, Any], job_id: str) -> None:
        task = asyncio.ensure_future(run(job_id))
        while not (await asyncio.wait({task}, timeout=LEASE_SECONDS / 3))[0]:
            with contextlib.suppress(*_SILENT):
                lease_ms = int(LEASE_SECONDS * 1000)
                await ctx["redis"].pexpire(in_progress_key_prefix + ctx["job_id"], lease_ms)
        await task

    return {
        "functions": [func(ring, name=FUNCTION)],
        "queue_name": QUEUES[kind],
        "redis_settings": redis_settings(dsn),
        "max_jobs": together,
        "job_timeout": EXPIRES_SECONDS,  # a job ends by its engine or by its row, never by arq
        "max_tries": 1000,
        "keep_result": 0,
        "expires_extra_ms": EXPIRES_SECONDS * 1000,
        "health_check_interval": 15,
        "poll_delay": POLL_SECONDS,
        "allow_abort_jobs": False,
        "job_serializer": _serialize,
        "job_deserializer": json.loads,
        "log_results": False,
    }


async def serve(options: dict[str, Any]) -> None:
    """An arq worker until cancelled, started again whenever Redis was away for longer than it can bear."""
    while True:
        worker = Worker(**options, handle_signals=False)
        worker.in_progress_timeout_s = LEASE_SECONDS
        try:
            await worker.async_run()
        except _SILENT as error:
            log.error("Redis does not answer: work waits", extra={"problem": type(error).__name__})
            await asyncio.sleep(1)
        finally:
            await _close(worker)


async def _close(worker: Worker) -> None:
    """End its waiting, not the work, and let go of Redis, which may be away."""
    for task in worker.tasks.values():
        task.cancel()
    if worker.tasks:
        await asyncio.wait(worker.tasks.values(), timeout=CLOSE_SECONDS)
    if worker._pool is None:
        return
    with contextlib.suppress(TimeoutError, *_SILENT):
        async with asyncio.timeout(CLOSE_SECONDS):
            await worker.pool.delete(worker.health_check_key)
    with contextlib.suppress(*_SILENT):
        await worker.pool.aclose(close_connection_pool=True)


@functools.cache
def me() -> str:
    """This process, so that a later one on the same machine can tell that it is dead."""
    process = psutil.Process()
    return f"{platform.node()}/{process.pid}/{process.create_time():.2f}"


def is_dead(worker: str) -> bool:
    """Whether that worker was a process of this machine and is no more. False where one cannot tell."""
    node, _, rest = worker.partition("/")
    pid, _, born = rest.partition("/")
    if node != platform.node() or not pid.isdigit():
        return False
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" != born
    except psutil.NoSuchProcess:
        return True


async def release_dead(database: Database) -> int:
    """Put back what workers of this machine had in hand when they died; how many jobs."""
    running = await database.read(work.running_by)
    dead: dict[str, list[str]] = {}
    for id, worker in running:
        if worker != me() and is_dead(worker):
            dead.setdefault(worker, []).append(id)
    for worker, ids in dead.items():
        await database.run(functools.partial(work.release, ids=ids, worker=worker))
    return sum(len(ids) for ids in dead.values())


def _quick_client(dsn: str) -> ArqRedis:
    settings = RedisSettings.from_dsn(dsn)
    return ArqRedis(
        host=str(settings.host),
        port=settings.port,
        db=settings.database,
        username=settings.username,
        password=settings.password,
        ssl=settings.ssl,
        unix_socket_path=settings.unix_socket_path,
        socket_connect_timeout=1,
        socket_timeout=1,
        job_serializer=_serialize,
        job_deserializer=json.loads,
        expires_extra_ms=EXPIRES_SECONDS * 1000,
    )


def _serialize(job: dict[str, Any]) -> bytes:
    return json.dumps(job, default=repr).encode()
