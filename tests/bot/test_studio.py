"""Everything on one machine: what is started, in which order, with which settings."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bot import studio
from bot.config import Settings
from bot.embedded import claim
from bot.errors import ConfigError, OperatorError
from bot.supervision import Child

TOKEN = {"TELEGRAM_TOKEN": "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """The children that would be started."""
    children: list[Child] = []

    class Recorder:
        def __init__(self, given: list[Child]) -> None:
            children.extend(given)

        async def run(self, stop: asyncio.Event) -> None:
            await stop.wait()

    monkeypatch.setattr(studio, "Supervisor", Recorder)
    return children


def settings_in(folder: Path, **tables: Any) -> Settings:
    return Settings.model_validate({"bot": {"data_dir": folder}, "secrets": TOKEN, **tables})


async def serve(settings: Settings, config: Path | None = None) -> None:
    stop = asyncio.Event()
    stop.set()
    await studio.serve_chats(settings, config, stop)


async def test_redis_comes_first_and_all_read_the_same_config(started: list[Child], tmp_path: Path) -> None:
    await serve(settings_in(tmp_path), tmp_path / "own.toml")
    assert [child.name for child in started] == ["redis", "worker", "bot"]
    assert all(child.environ == {"LIKENESS_CONFIG": str(tmp_path / "own.toml")} for child in started[1:])


async def test_a_configured_redis_is_never_started(started: list[Child], tmp_path: Path) -> None:
    await serve(settings_in(tmp_path, queue={"redis_url": "redis://elsewhere"}))
    assert [child.name for child in started] == ["worker", "bot"]


async def test_each_gpu_gets_a_worker_of_its_own(
    started: list[Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    await serve(settings_in(tmp_path), tmp_path / "own.toml")
    assert [child.name for child in started] == ["redis", "worker 1", "worker 2", "worker 3", "bot"]
    assert [child.environ["CUDA_VISIBLE_DEVICES"] for child in started[1:4]] == ["0", "1", "2"]
    assert all(child.environ["LIKENESS_CONFIG"] == str(tmp_path / "own.toml") for child in started[1:])
    started.clear()
    await serve(settings_in(tmp_path, engine={"device": "cpu"}))
    assert [child.name for child in started] == ["redis", "worker", "bot"]


async def test_it_refuses_before_anything_starts(started: list[Child], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="licence"):
        await serve(settings_in(tmp_path, engine={"base": "flux1-dev"}))
    with pytest.raises(ConfigError, match="TELEGRAM_TOKEN"):
        await serve(settings_in(tmp_path, secrets={}))
    assert started == []


async def test_one_studio_a_data_folder(started: list[Child], tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with claim(settings), pytest.raises(OperatorError, match="Another Likeness"):
        await serve(settings)
    assert started == []
