"""One journey over three machines: a bot, and two workers that never run at the same moment until the end.

Each has a data folder of its own; all they share is a Postgres, a Redis and a bucket.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from sqlalchemy import text

from bot.store.database import Database
from tests.bot.store.databases import empty_url
from tests.integration.installation import CONFIG, COUNT, HEADSHOTS, has_button, pictures, repeated, selfies
from tests.redis_server import RedisServer
from tests.servers.s3_server import running_s3
from tests.servers.telegram_people import TelegramPeople
from tests.servers.telegram_server import TOKEN, running_server

pytestmark = [pytest.mark.redis, pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(300)]
BUCKET = "likeness"
STORE = '[store]\nblob_url = "s3://{bucket}/files"\nblob_endpoint = "{url}"\nblob_region = "us-east-1"\n'
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests"}

Shared = tuple[list["Host"], Database, TelegramPeople, Callable[[], int]]


class Host:
    """One process of `likeness` with a data folder of its own."""

    def __init__(self, folder: Path, command: str, config: str, environ: dict[str, str]) -> None:
        folder.mkdir()
        self.command, self.environ, self.log = command, environ, folder / "log"
        self.config = folder / "config.toml"
        self.config.write_text(config.format(data_dir=folder / "data"))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Stopped in the end as an operator does."""
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot", self.command, "--config", str(self.config)),
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environ, "OMP_NUM_THREADS": "1"},
                process_group=0,
            )
        try:
            yield
        finally:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 60)
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def done(self) -> Counter[str]:
        """How many jobs of each kind it has done."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return Counter(line["stage"] for line in lines if line.get("outcome") == "done")


async def until(wanted: Callable[[], Any], hosts: list[Host], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not wanted():
        tails = {host.command: host.log.read_text()[-2000:] for host in hosts if host.log.exists()}
        assert time.monotonic() < deadline, tails
        await asyncio.sleep(0.05)


@asynccontextmanager
async def three_hosts(
    folder: Path,
) -> AsyncIterator[Shared]:
    """A bot and two workers, not yet started; their database, their Telegram, how many files they have."""
    async with AsyncExitStack() as stack:
        database_url = stack.enter_context(empty_url("postgresql", folder))
        s3_url = stack.enter_context(running_s3())
        redis = RedisServer(folder)
        stack.callback(redis.stop)
        server = await stack.enter_async_context(running_server())
        people = await stack.enter_async_context(TelegramPeople(server.url))
        keys = {"aws_access_key_id": "tests", "aws_secret_access_key": "tests", "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=s3_url, **keys)
        client.create_bucket(Bucket=BUCKET)
        config = CONFIG.format(
            data_dir="{data_dir}", url=server.url, count=COUNT, headshots=HEADSHOTS, base="tiny"
        )
        config += STORE.format(bucket=BUCKET, url=s3_url)
        shared = {
            **CREDENTIALS,
            "LIKENESS_KEY": "the same on every host, and long",
            "LIKENESS_DATABASE_URL": database_url,
            "LIKENESS_REDIS_URL": redis.dsn,
        }
        front = Host(folder / "front", "bot", config, {**shared, "TELEGRAM_TOKEN": TOKEN})
        workers = [Host(folder / name, "worker", config, shared) for name in ("one", "two")]
        database = Database(database_url)
        stack.callback(database.close)
        yield [front, *workers], database, people, lambda: client.list_objects_v2(Bucket=BUCKET)["KeyCount"]


async def test_checked_on_one_host_trained_on_another_and_drawn_on_either(tmp_path: Path) -> None:
    async with three_hosts(tmp_path) as (hosts, database, people, files), AsyncExitStack() as stack:
        front, one, two = hosts
        await stack.enter_async_context(front.running())
        person = await people.person()
        await person.text("/start")
        await person.press("consent_yes", await person.wait_for(has_button("consent_yes"), timeout=60))
        async with one.running():
            await person.album(selfies())
            train = await person.wait_for(has_button("train"), timeout=120)
        assert one.done() == {"check": COUNT}

        await stack.enter_async_context(two.running())
        await person.press("train", train)
        await person.wait_for(has_button("style"), timeout=120)
        assert two.done() == {"train": 1}

        await stack.enter_async_context(one.running())
        await person.text("/headshot linkedin style")
        await person.wait_for(lambda message: message.photo, timeout=120)
        await until(lambda: one.done()["shoot"] + two.done()["shoot"] == 1, hosts)
        await person.wait_for(has_button("not_me"), timeout=60)
        got = await pictures(people, person)
        assert sorted(got.values()) == [1] * HEADSHOTS
        assert repeated(await person.messages()) == {}

        assert files() > COUNT
        await person.text("/deleteme")
        confirm = await person.wait_for(has_button("forget_yes"), timeout=60)
        await person.press("forget_yes", confirm)
        await until(lambda: files() == 0, hosts)
        count = text("SELECT count(*) FROM person")
        assert await database.read(lambda session: session.connection().execute(count).scalar()) == 0
        for host in hosts:
            assert '"level": "error"' not in host.log.read_text()
            assert not (host.config.parent / "data" / "blobs").exists()
