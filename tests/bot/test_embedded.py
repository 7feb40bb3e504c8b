"""The embedded Redis: one owner, nothing open to the network, its data outlives it."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis

from bot import embedded
from bot.config import BotSettings, Settings
from bot.errors import OperatorError, ServiceUnavailable
from bot.supervision import Supervisor

pytestmark = pytest.mark.redis


def settings_in(folder: Path) -> Settings:
    return Settings(bot=BotSettings(data_dir=folder))


class Running:
    """The embedded server under a supervisor, as `likeness run` has it."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.stop = settings, asyncio.Event()
        self.supervisor = Supervisor([embedded.redis_child(settings)])

    async def __aenter__(self) -> redis.Redis:
        self.task = asyncio.create_task(self.supervisor.run(self.stop))
        await asyncio.wait_for(self.supervisor.started.wait(), 10)
        return redis.Redis.from_url(self.settings.redis_dsn)

    async def __aexit__(self, *exc: object) -> None:
        self.stop.set()
        await self.task


async def test_what_was_queued_outlives_a_stop_and_a_kill(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    running = Running(settings)
    async with running as client:
        client.set("kept", "1")
        client.execute_command("WAITAOF", 1, 0, 0)  # it is in the append-only file
        pid = running.supervisor.pid("redis")
        assert pid
        assert not [c for c in psutil.Process(pid).net_connections() if c.status == psutil.CONN_LISTEN]
        os.kill(pid, signal.SIGKILL)
        while not await embedded.answers(settings.redis_dsn):
            await asyncio.sleep(0.05)
        assert client.get("kept") == b"1"
        client.close()
    async with Running(settings) as client:
        assert client.get("kept") == b"1"
        client.close()
    assert not await embedded.answers(settings.redis_dsn)


async def test_a_server_left_behind_is_taken_over_with_its_data(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    command = embedded.redis_child(settings).command
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as orphan:
        while not await embedded.answers(settings.redis_dsn):
            await asyncio.sleep(0.05)
        with redis.Redis.from_url(settings.redis_dsn) as client:
            client.set("kept", "2")
        async with Running(settings) as client:
            assert client.get("kept") == b"2"
            client.close()
        assert orphan.wait(5) == 0


def test_a_data_folder_has_one_supervisor(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    code = (
        "import sys; from pathlib import Path; from bot import embedded; from bot.config import *;"
        "s = Settings(bot=BotSettings(data_dir=Path(sys.argv[1])));"
        "embedded.claim(s).__enter__()"
    )
    ask = [sys.executable, "-c", code, str(tmp_path)]
    with embedded.claim(settings):
        refused = subprocess.run(ask, capture_output=True, text=True, check=False)
        assert "Another Likeness runs on" in refused.stderr
    subprocess.run(ask, check=True)


async def test_a_folder_with_a_very_long_name_still_works(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / ("long" * 30))
    assert len(os.fsencode(settings.redis_socket)) < 104
    async with Running(settings) as client:
        assert client.ping()
        client.close()


def test_a_data_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceUnavailable, match="data_dir"), embedded.claim(settings_in(tmp_path / "file")):
        pass


def test_a_socket_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(tmp_path)
    monkeypatch.setattr("bot.embedded.os.getuid", lambda: os.geteuid() + 1)
    with pytest.raises(OperatorError, match="somebody else"):
        embedded.redis_child(settings)
