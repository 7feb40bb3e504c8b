"""What a worker may expect of an engine: the real one on the tiny base, and the fake of the other tests."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.client import EngineClient
from engine.config import EngineConfig
from engine.messages import (
    AdapterTrained,
    CheckPhoto,
    Failed,
    HeadshotsMade,
    MakeHeadshots,
    PhotoChecked,
    Progress,
    TrainAdapter,
)
from tests.engine.endless_base import make_endless_tiny

ROOT = Path(__file__).parents[2]
SELFIES = sorted((ROOT / "bot" / "demo_selfies").glob("*.jpg"))[:4]
COMMANDS = {
    "fake": (sys.executable, str(ROOT / "tests" / "fake_engine.py")),
    "real": (sys.executable, "-m", "engine"),
}


@asynccontextmanager
async def started(which: str, base: str, folder: Path) -> AsyncIterator[EngineClient]:
    config = EngineConfig(base=base, device="cpu", preset="fast", threads=1, cache_dir=str(folder / "cache"))
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "FAKE_ENGINE_SCRIPT": str(folder / "script")}
    client = EngineClient(config, environ=environ, command=COMMANDS[which])
    client.start()
    yield client
    await client.close()


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.slow)])
def which(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def engine(which: str, tmp_path: Path) -> AsyncIterator[EngineClient]:
    async with started(which, "tiny", tmp_path) as client:
        yield client


@pytest.fixture
async def endless(which: str, tmp_path: Path) -> AsyncIterator[EngineClient]:
    """Its trainings report progress and go on until they are cancelled."""
    (tmp_path / "script").write_text("good hang")
    if which == "real":
        make_endless_tiny(tmp_path / "endless")
    async with started(which, str(tmp_path / "endless"), tmp_path) as client:
        yield client


async def checked(engine: EngineClient, folder: Path) -> tuple[tuple[str, ...], dict[str, dict]]:
    """Selfies through the check: their clean copies and their facts by path's stem."""
    facts: dict[str, dict] = {}
    paths = []
    for number, selfie in enumerate(SELFIES):
        clean = folder / f"p{number}.jpg"
        request = CheckPhoto(f"check {number}", f"p{number}", str(selfie), str(clean), dict(facts))
        answer = await engine.request(request)
        assert isinstance(answer, PhotoChecked)
        assert answer.verdicts[f"p{number}"]["verdict"] == "accepted"
        assert answer.verdicts.keys() <= {f"p{number}", *facts}
        assert clean.is_file()
        facts[f"p{number}"] = answer.facts
        paths.append(str(clean))
    return tuple(paths), facts


async def test_a_photo_that_cannot_be_read_is_refused_without_facts(
    engine: EngineClient, tmp_path: Path
) -> None:
    photo = tmp_path / "photo"
    photo.write_bytes(b"bad\nno photo at all")
    answer = await engine.request(CheckPhoto("c1", "p1", str(photo), str(tmp_path / "clean")))
    assert isinstance(answer, PhotoChecked)
    assert (answer.id, answer.photo_id, answer.facts) == ("c1", "p1", {})
    assert answer.verdicts["p1"]["verdict"] == "refused"
    assert answer.verdicts["p1"]["problems"]
    assert not (tmp_path / "clean").exists()


async def test_from_selfies_to_headshots_and_the_same_again(engine: EngineClient, tmp_path: Path) -> None:
    photos, facts = await checked(engine, tmp_path)
    told: list[Progress] = []
    adapter = tmp_path / "adapter.safetensors"
    train = TrainAdapter("t1", "ann", "a1", photos, str(tmp_path / "work"), str(adapter), facts, seed=3)
    answer = await engine.request(train, told.append)
    assert isinstance(answer, AdapterTrained)
    assert (answer.adapter_id, answer.adapter_path) == ("a1", str(adapter))
    assert adapter.stat().st_size > 0
    assert told
    assert all(0 <= progress.fraction <= 1 for progress in told)

    for id in ("s1", "s2"):  # asked again, it answers again
        shoot = MakeHeadshots(
            id, "ann", "a1", str(adapter), "a photo of {subject}", 2, 7, str(tmp_path / "out")
        )
        made = await engine.request(shoot)
        assert isinstance(made, HeadshotsMade), made
        assert len({picture.path for picture in made.pictures}) == 2
        assert all(Path(picture.path).is_file() for picture in made.pictures)
    await engine.forget("a1")


async def test_cancelled_work_answers_that_it_was(endless: EngineClient, tmp_path: Path) -> None:
    photos, facts = await checked(endless, tmp_path)
    work, adapter = str(tmp_path / "work"), str(tmp_path / "adapter")
    train = TrainAdapter("t1", "ann", "a1", photos, work, adapter, facts)
    under_way = asyncio.Event()
    training = asyncio.create_task(endless.request(train, lambda progress: under_way.set()))
    async with asyncio.timeout(60):
        await under_way.wait()
        await endless.cancel("t1")
        answer = await training
    assert isinstance(answer, Failed)
    assert (answer.reason, answer.retry) == ("cancelled", False)
