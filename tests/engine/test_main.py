"""The engine process through its pipes: from photos to pictures, and through every kind of end."""

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from engine.config import EngineConfig
from engine.marking import read_marks
from engine.messages import (
    AdapterTrained,
    Cancel,
    CheckPhoto,
    Failed,
    ForgetAdapter,
    HeadshotsMade,
    MakeHeadshots,
    NotReady,
    PhotoChecked,
    Progress,
    Ready,
    TrainAdapter,
)
from tests.engine import endless_base
from tests.engine.colour_base import BLUE, RED, make_colour_base
from tests.engine.engine_process import EngineProcess

STEPS = 200


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> EngineConfig:
    folder = tmp_path_factory.mktemp("colour")
    make_colour_base(folder / "base", STEPS)
    return EngineConfig(base=str(folder / "base"), device="cpu", cache_dir=str(folder / "cache"), threads=1)


@pytest.fixture(scope="module")
def shared(config: EngineConfig) -> Iterator[EngineProcess]:
    with EngineProcess(config) as process:
        process.wait_for(lambda reply: isinstance(reply, Ready))
        yield process
        assert process.end_input() == 0


@pytest.fixture
def engine(shared: EngineProcess) -> EngineProcess:
    """One process for all tests that leave it alive: starting takes seconds."""
    shared.replies.clear()
    return shared


@pytest.fixture(scope="module")
def endless_config(config: EngineConfig) -> EngineConfig:
    folder = Path(config.base).with_name("endless")
    endless_base.make_endless(Path(config.base), folder)
    return replace(config, base=str(folder))


@pytest.fixture(scope="module")
def shared_endless(endless_config: EngineConfig) -> Iterator[EngineProcess]:
    with EngineProcess(endless_config) as process:
        process.wait_for(lambda reply: isinstance(reply, Ready))
        yield process
        assert process.end_input() == 0


@pytest.fixture
def endless(shared_endless: EngineProcess) -> EngineProcess:
    """Another one, whose trainings go on until they are cancelled; its adapters fit those of `engine`."""
    shared_endless.replies.clear()
    return shared_endless


def training(person: str, photos: list[str], folder: Path, seed: int = 0) -> TrainAdapter:
    work, adapter = str(folder / f"work-{person}"), str(folder / f"{person}.safetensors")
    return TrainAdapter(
        f"train-{person}", person, f"adapter-{person}", tuple(photos), work, adapter, seed=seed
    )


def shoot(person: str, folder: Path, name: str = "1", count: int = 3) -> MakeHeadshots:
    adapter, out = str(folder / f"{person}.safetensors"), str(folder / f"out-{person}-{name}")
    return MakeHeadshots(
        f"shoot-{person}-{name}", person, f"adapter-{person}", adapter, "photo of {subject}", count, 5, out
    )


def is_end(request_id: str) -> Callable[[object], bool]:
    ends = (AdapterTrained, HeadshotsMade, Failed)
    return lambda reply: isinstance(reply, ends) and reply.id == request_id


def is_training(reply: object) -> bool:
    return isinstance(reply, Progress) and reply.stage == "training"


def cancel(engine: EngineProcess, request_id: str) -> None:
    engine.send(Cancel(f"cancel-{request_id}", request_id))
    assert engine.wait_for(is_end(request_id)) == Failed(request_id, "cancelled")


def redness(made: HeadshotsMade) -> list[float]:
    means = [np.asarray(Image.open(picture.path)).mean(axis=(0, 1)) for picture in made.pictures]
    return [float(mean[0] - mean[2]) for mean in means]


def test_two_people_at_once_never_mix_as_their_pictures_show(
    engine: EngineProcess, endless: EngineProcess, coloured_photos: Callable, tmp_path: Path
) -> None:
    """Ada is red, Ben is blue. Ben trains while Ada's pictures are made, then both shoot turn by turn."""
    photos = coloured_photos(BLUE, 5, "ben")
    engine.send(training("ada", coloured_photos(RED, 5, "ada"), tmp_path), training("ben", photos, tmp_path))
    assert isinstance(engine.wait_for(is_end("train-ada")), AdapterTrained)
    endless.send(training("ben", photos, tmp_path / "endless"))
    endless.wait_for(is_training)
    for turn in "abc":
        endless.send(shoot("ada", tmp_path, turn))
        made = endless.wait_for(is_end(f"shoot-ada-{turn}"))
        assert min(redness(made)) > 40, "Ada's pictures, made in the middle of Ben's training, are red"
    endless.wait_for(is_training)
    cancel(endless, "train-ben")
    engine.send(shoot("ada", tmp_path, "g"))  # in the middle of Ben's other training, or just after it
    assert isinstance(engine.wait_for(is_end("train-ben")), AdapterTrained)
    engine.send(*(shoot(person, tmp_path, turn) for turn in "def" for person in ("ada", "ben")))
    made = {}
    while len(made) < 6:
        reply = engine.wait_for(lambda reply: isinstance(reply, HeadshotsMade | Failed))
        if reply.id != "shoot-ada-g":
            made[reply.id] = redness(reply)
    for turn in "def":
        assert min(made[f"shoot-ada-{turn}"]) > 40
        assert max(made[f"shoot-ben-{turn}"]) < -40


def test_stopped_in_the_middle_it_goes_on_from_its_checkpoint(
    endless_config: EngineConfig, coloured_photos: Callable, tmp_path: Path
) -> None:
    request, steps = training("ada", coloured_photos(RED, 4), tmp_path), []
    for end in (signal.SIGTERM, signal.SIGKILL):
        with EngineProcess(endless_config) as broken:
            broken.send(request)
            steps.append(broken.wait_for(is_training).step)
            broken.process.send_signal(end)
            assert broken.process.wait(60) == (0 if end is signal.SIGTERM else -signal.SIGKILL)
    assert steps[1] > steps[0], "what was done before the end is not done again"


def test_stopped_and_killed_it_comes_to_the_same_weights_as_undisturbed(
    engine: EngineProcess, config: EngineConfig, coloured_photos: Callable, tmp_path: Path
) -> None:
    photos = coloured_photos(RED, 4)
    engine.send(training("ada", photos, tmp_path / "straight"))
    request = training("ada", photos, tmp_path / "broken")
    for end in (signal.SIGTERM, signal.SIGKILL):
        with EngineProcess(config) as broken:
            broken.send(request)
            # In the middle, unless a fast machine is through already: the weights are the same either way.
            broken.wait_for(lambda reply: is_training(reply) or is_end("train-ada")(reply))
            broken.process.send_signal(end)
            assert broken.process.wait(60) == (0 if end is signal.SIGTERM else -signal.SIGKILL)
    with EngineProcess(config) as last:
        last.send(request)
        assert last.wait_for(is_end("train-ada")).steps == STEPS
        again = shoot("ada", tmp_path / "broken")
        last.send(request, again)
        assert last.wait_for(is_end("train-ada")).steps == STEPS, "answered from what is on disk"
        made = last.wait_for(is_end("shoot-ada-1"))
        written = Path(made.pictures[0].path).stat().st_mtime_ns
        last.send(again)
        assert last.wait_for(is_end("shoot-ada-1")).pictures == made.pictures
        assert Path(made.pictures[0].path).stat().st_mtime_ns == written, "pictures on disk are kept"
        assert last.end_input() == 0
    assert isinstance(engine.wait_for(is_end("train-ada")), AdapterTrained)
    whole = load_file(tmp_path / "straight" / "ada.safetensors")
    pieces = load_file(tmp_path / "broken" / "ada.safetensors")
    assert all((whole[name] == pieces[name]).all() for name in whole)
    assert not list((tmp_path / "broken" / "work-ada").iterdir()), "nothing is left in the work folder"


def test_the_same_request_again_while_it_runs_is_one_request(
    endless: EngineProcess, coloured_photos: Callable, tmp_path: Path
) -> None:
    request = training("ada", coloured_photos(RED), tmp_path)
    endless.send(request, request)
    endless.wait_for(is_training)
    endless.send(request)
    cancel(endless, "never-heard-of")  # its answer says that the third was read too
    endless.wait_for(is_training)
    cancel(endless, "train-ada")
    told = [reply.stage for reply in endless.replies if isinstance(reply, Progress)]
    assert sorted(told, key=["queued", "preparing", "training"].index) == told, "it did not begin again"


def test_pictures_are_marked(
    engine: EngineProcess, config: EngineConfig, coloured_photos: Callable, tmp_path: Path
) -> None:
    engine.send(training("ada", coloured_photos(RED), tmp_path))
    engine.wait_for(is_end("train-ada"))
    engine.send(shoot("ada", tmp_path))
    for picture in engine.wait_for(is_end("shoot-ada-1")).pictures:
        marks = read_marks(Path(picture.path), Path(config.cache_dir) / "keys")
        assert (marks.signed, marks.trusted, marks.generated) == (True, True, True)


def test_a_cancelled_training_stops_and_others_go_on(
    endless: EngineProcess, coloured_photos: Callable, tmp_path: Path
) -> None:
    endless.send(training("ada", coloured_photos(RED, 4, "ada"), tmp_path))
    endless.wait_for(is_training)
    endless.send(training("ben", coloured_photos(BLUE, 4, "ben"), tmp_path))
    waiting = endless.wait_for(lambda reply: reply.id == "train-ben")
    assert (waiting.stage, waiting.ahead) == ("queued", 1)
    cancel(endless, "train-ada")
    assert endless.wait_for(is_training).id == "train-ben"
    cancel(endless, "train-ben")
    cancel(endless, "never-heard-of")
    assert not list(tmp_path.glob("*.safetensors"))


def test_progress_is_honest(endless: EngineProcess, coloured_photos: Callable, tmp_path: Path) -> None:
    """How an estimate is made is tested with a clock of its own, in test_work.py."""
    endless.send(training("ada", coloured_photos(RED), tmp_path))
    told = [endless.wait_for(is_training) for _ in range(4)]
    cancel(endless, "train-ada")
    assert [reply.step for reply in told] == sorted({reply.step for reply in told})
    for reply in told:
        assert reply.total_steps == endless_base.STEPS
        assert reply.fraction == pytest.approx(reply.step / endless_base.STEPS, abs=1e-4)
        assert reply.loss > 0
    assert all(reply.eta_seconds > 0 for reply in told[1:])


def test_what_is_wrong_ends_one_request_and_not_the_engine(
    engine: EngineProcess, coloured_photos: Callable, tmp_path: Path
) -> None:
    photos = coloured_photos(RED, 2)
    engine.send_raw("this is not JSON")
    engine.send_raw('{"kind": "Unheard"}')
    engine.send(training("few", [*photos, str(tmp_path / "gone.jpg")], tmp_path))
    assert engine.wait_for(is_end("train-few")).reason == "not_enough_selfies"
    engine.send(shoot("nobody", tmp_path))
    assert engine.wait_for(is_end("shoot-nobody-1")).reason == "adapter_corrupt"
    (tmp_path / "odd.safetensors").write_bytes(b"odd")
    engine.send(shoot("odd", tmp_path))
    failed = engine.wait_for(is_end("shoot-odd-1"))
    assert (failed.reason, failed.retry) == ("adapter_corrupt", False)
    engine.send(training("ada", coloured_photos(RED), tmp_path))
    assert isinstance(engine.wait_for(is_end("train-ada")), AdapterTrained)
    stolen = shoot("ada", tmp_path, "stolen")
    engine.send(MakeHeadshots(**{**vars(stolen), "person_id": "eve"}))
    assert engine.wait_for(is_end("shoot-ada-stolen")).reason == "adapter_corrupt"
    engine.send(shoot("ada", tmp_path, "before"))
    assert isinstance(engine.wait_for(is_end("shoot-ada-before")), HeadshotsMade)
    engine.send(ForgetAdapter("f", "adapter-ada"))
    (tmp_path / "ada.safetensors").unlink()
    engine.send(shoot("ada", tmp_path))
    assert engine.wait_for(is_end("shoot-ada-1")).reason == "adapter_corrupt"


def test_photos_are_checked_while_a_training_runs(
    endless: EngineProcess, coloured_photos: Callable, tmp_path: Path
) -> None:
    selfie = Path(__file__).parent.parent / "data" / "other_1.jpg"
    endless.send(training("ada", coloured_photos(RED), tmp_path))
    endless.wait_for(is_training)
    endless.send(CheckPhoto("check-1", "photo-1", str(selfie), str(tmp_path / "clean.jpg")))
    endless.send(CheckPhoto("check-2", "photo-2", str(tmp_path / "gone.jpg"), str(tmp_path / "clean-2.jpg")))
    checked = endless.wait_for(lambda reply: isinstance(reply, PhotoChecked))
    assert (checked.id, checked.photo_id) == ("check-1", "photo-1")
    assert checked.verdicts["photo-1"]["verdict"] == "accepted"
    assert endless.wait_for(lambda reply: reply.id == "check-2")
    cancel(endless, "train-ada")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (EngineConfig(base="/no/such/base", device="cpu").to_json(), "/no/such/base"),
        ('{"preset": "splendid"}', "splendid"),
        ('{"surprise": 1}', "surprise"),
    ],
)
def test_an_engine_that_cannot_start_says_why_and_exits_with_3(text: str, named: str) -> None:
    with EngineProcess(text) as engine:
        refusal = engine.wait_for(lambda reply: True)
        assert isinstance(refusal, NotReady)
        assert named in refusal.sentence
        assert engine.process.wait(30) == 3


def test_standard_output_holds_replies_and_the_logs_hold_no_prompt(
    engine: EngineProcess, coloured_photos: Callable, tmp_path: Path
) -> None:
    engine.send(
        training("ada", coloured_photos(RED), tmp_path),
    )
    engine.wait_for(is_end("train-ada"))
    engine.send(
        MakeHeadshots(**{**vars(shoot("ada", tmp_path)), "prompt": "a very secret wish of {subject}"})
    )
    assert isinstance(engine.wait_for(is_end("shoot-ada-1")), HeadshotsMade)
    assert not [line for line in engine.logs if "secret wish" in line]
    events = {json.loads(line)["event"] for line in engine.logs if line.startswith("{")}
    assert {"training_begun", "request_done"} <= events
