"""The engine in a thread: errors of one piece of work, memory that runs out, a device that is lost."""

import errno
import logging
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from queue import Empty, Queue
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from engine import trainer as trainer_module
from engine.attention import Attention
from engine.config import EngineConfig
from engine.engine import DeviceLost, Engine, PhotoDesk
from engine.errors import FaceModelUnusable
from engine.lora import Adapter, AdapterInfo
from engine.messages import (
    AdapterTrained,
    Cancel,
    CheckPhoto,
    Failed,
    ForgetAdapter,
    HeadshotsMade,
    MakeHeadshots,
    PhotoChecked,
    Progress,
    TrainAdapter,
)
from engine.models import load_base
from engine.pictures import write_picture
from engine.scheduler import Kind
from engine.training_work import TrainingWork
from tests.engine.endless_base import make_endless
from tests.engine.test_metrics import read


class Running:
    """An engine in a thread of its own, with a photo check that the test chooses."""

    def __init__(
        self,
        cache_dir: Path,
        check: Callable[[CheckPhoto], PhotoChecked],
        base: str = "tiny",
        memory_tier: str = "auto",
    ) -> None:
        self.metrics = cache_dir / "metrics"
        config = EngineConfig(
            base=base, device="cpu", cache_dir=str(cache_dir), metrics_dir=str(self.metrics),
            memory_tier=memory_tier,
        )  # fmt: skip
        self.replies: Queue = Queue()
        self.base = load_base(config)
        self.engine = Engine(config, self.base, check, self.replies.put, write_picture)
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.engine.run()
        except DeviceLost as error:
            self.error = error

    def answer(self, request_id: str) -> object:
        while True:
            try:
                reply = self.replies.get(timeout=30)
            except Empty:
                raise AssertionError("no answer") from None
            if reply.id == request_id and not isinstance(reply, Progress):
                return reply

    def close(self) -> None:
        self.engine.stop()
        self._thread.join(60)
        assert not self._thread.is_alive()


def odd_check(request: CheckPhoto) -> PhotoChecked:
    if request.photo_id == "odd":
        raise RuntimeError("the detector fell over")
    return PhotoChecked(
        request.id, request.photo_id, {request.photo_id: {"verdict": "accepted", "problems": []}}
    )


def test_what_the_operator_switches_reaches_what_it_switches(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acceleration = Mock()
    monkeypatch.setattr("engine.engine.Acceleration", acceleration)
    config = EngineConfig(
        base="tiny", device="cpu", cache_dir=str(cache_dir), compile="off", attention="safe"
    )
    Engine(config, load_base(config), odd_check, lambda reply: None, write_picture)
    assert acceleration.call_args.args[2:] == ("off", "safe")


@pytest.fixture
def running(cache_dir: Path) -> Iterator[Running]:
    engine = Running(cache_dir, odd_check)
    yield engine
    engine.close()


@pytest.fixture
def endless(cache_dir: Path, tmp_path: Path) -> Iterator[Running]:
    """Its trainings are not over before the engine is stopped."""
    make_endless(cache_dir / "tiny-base", tmp_path / "endless")
    engine = Running(cache_dir, odd_check, str(tmp_path / "endless"))
    yield engine
    engine.close()


def training(photos: list[str], folder: Path, name: str = "t") -> TrainAdapter:
    return TrainAdapter(
        name, "ada", "a", tuple(photos), str(folder / name), str(folder / f"{name}.safetensors")
    )


def break_next(running: Running, monkeypatch: pytest.MonkeyPatch, error: Exception, times: int = 1) -> None:
    original, broken = running.base.transformer.forward, []

    def forward(**inputs: object) -> object:
        if len(broken) < times:
            broken.append(1)
            raise error
        return original(**inputs)

    monkeypatch.setattr(running.base.transformer, "forward", forward)


@pytest.mark.parametrize(
    ("error", "reason", "retry"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory", True),
        (MemoryError(), "out_of_memory", True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory", True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "out_of_memory", True),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full", True),
        (RuntimeError("shapes do not match"), "engine_failed", False),
    ],
)
def test_one_work_fails_and_the_next_succeeds(
    running: Running, coloured_photos, tmp_path: Path, monkeypatch, error: Exception, reason: str, retry: bool
) -> None:
    photos = coloured_photos((200, 60, 60))
    break_next(running, monkeypatch, error, times=2 if reason == "out_of_memory" else 1)
    running.engine.submit(training(photos, tmp_path))
    failed = running.answer("t")
    assert isinstance(failed, Failed)
    assert (failed.reason, failed.retry) == (reason, retry)
    running.engine.submit(training(photos, tmp_path))
    assert isinstance(running.answer("t"), AdapterTrained)


def test_a_lost_device_ends_the_engine_so_that_another_can_go_on(
    running: Running, coloured_photos, tmp_path: Path, monkeypatch
) -> None:
    break_next(running, monkeypatch, torch.AcceleratorError("CUDA error: an illegal memory access"))
    running.engine.submit(training(coloured_photos((200, 60, 60)), tmp_path))
    running._thread.join(20)
    assert isinstance(running.error, DeviceLost)
    assert not [reply for reply in list(running.replies.queue) if isinstance(reply, Failed)]


def test_a_device_is_lost_also_where_a_library_says_it_in_words_of_its_own(
    running: Running, coloured_photos, tmp_path: Path, monkeypatch
) -> None:
    """Triton and cuBLAS raise a RuntimeError; whatever torch does next raises its own."""

    def lost() -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access")

    monkeypatch.setattr(running.engine._resources, "wait", lost)
    break_next(running, monkeypatch, RuntimeError("Triton Error [CUDA]: an illegal memory access"))
    running.engine.submit(training(coloured_photos((200, 60, 60)), tmp_path))
    running._thread.join(20)
    assert isinstance(running.error, DeviceLost)
    assert not [reply for reply in list(running.replies.queue) if isinstance(reply, Failed)]


def test_what_the_engine_did_may_be_watched(running: Running, coloured_photos, tmp_path: Path) -> None:
    running.engine.submit(training(coloured_photos((200, 60, 60)), tmp_path))
    assert isinstance(running.answer("t"), AdapterTrained)
    running.engine.submit(replace(training(coloured_photos((200, 60, 60)), tmp_path, "u"), photos=()))
    assert isinstance(running.answer("u"), Failed)
    running.engine.submit(Cancel("c", "nobody"))
    running.answer("nobody")
    found = read(running.metrics)
    assert found["likeness_requests_ended_total", "cpu", "training", "done"] == 1
    assert found["likeness_requests_in_hand", "cpu", "training"] == 0
    assert found["likeness_quantum_seconds_count", "cpu", "training"] > 3
    assert found["likeness_recompiles", "cpu"] == 0


def test_a_quantum_is_over_when_the_device_has_done_it(
    running: Running, coloured_photos, tmp_path: Path, monkeypatch, caplog
) -> None:
    """A GPU does later what it is told; that is no other work's time."""
    spent, original = [], running.engine._scheduler.ran

    def ran(task_id: str, seconds: float) -> None:
        spent.append(seconds)
        original(task_id, seconds)

    monkeypatch.setattr(running.engine._resources, "wait", lambda: time.sleep(0.05))
    monkeypatch.setattr(running.engine._scheduler, "ran", ran)
    with caplog.at_level(logging.INFO):
        running.engine.submit(training(coloured_photos((200, 60, 60)), tmp_path))
        assert isinstance(running.answer("t"), AdapterTrained)
        running.engine.submit(Cancel("c", "nobody"))
        running.answer("nobody")
    assert min(spent) >= 0.05
    (done,) = [record for record in caplog.records if record.message == "request_done"]
    assert done.compute_ms == pytest.approx(1000 * sum(spent), abs=1)


def test_a_device_that_was_lost_by_the_time_of_a_request_is_not_the_requests_fault(
    running: Running, coloured_photos, tmp_path: Path, monkeypatch
) -> None:
    def lost(*_: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access")

    monkeypatch.setattr(running.engine, "_make", lost)
    running.engine.submit(training(coloured_photos((200, 60, 60)), tmp_path))
    running._thread.join(20)
    assert isinstance(running.error, DeviceLost)
    assert not [reply for reply in list(running.replies.queue) if isinstance(reply, Failed)]


def test_an_adapter_that_cannot_be_forgotten_does_not_end_the_engine(running: Running, monkeypatch) -> None:
    def fall_over(adapter_id: str) -> None:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(running.engine._resources, "forget", fall_over)
    running.engine.submit(ForgetAdapter("f", "a"))
    running.engine.submit(Cancel("c", "nobody"))
    assert running.answer("nobody") == Failed("nobody", "cancelled")


def test_an_adapter_that_is_complete_is_looked_at_on_the_cpu(
    running: Running, coloured_photos, tmp_path: Path
) -> None:
    running.engine.submit(training(coloured_photos((200, 60, 60)), tmp_path))
    trained = running.answer("t")
    running.engine._base = replace(running.base, device=torch.device("meta"))  # where no number can be read
    running.engine.submit(training([], tmp_path))
    assert running.answer("t") == replace(trained, seconds=0.0)


def test_a_photo_check_that_falls_over_answers_and_the_next_is_checked() -> None:
    replies: Queue = Queue()
    desk = PhotoDesk(odd_check, replies.put)
    desk.submit(CheckPhoto("1", "odd", "", ""))
    desk.submit(CheckPhoto("2", "even", "", ""))
    first, second = replies.get(timeout=5), replies.get(timeout=5)
    assert (first.id, first.reason) == ("1", "engine_failed")
    assert (second.id, type(second)) == ("2", PhotoChecked)


def test_an_adapter_of_another_base_is_trained_again(
    running: Running, coloured_photos, tmp_path: Path
) -> None:
    (tmp_path / "t.safetensors").write_bytes(b"left over from something else")
    running.engine.submit(training(coloured_photos((200, 60, 60)), tmp_path))
    trained = running.answer("t")
    assert trained.seconds > 0
    running.engine.submit(training([], tmp_path))
    assert running.answer("t") == replace(trained, seconds=0.0)


def test_a_shoot_goes_between_the_quanta_of_a_training(
    running: Running, endless: Running, coloured_photos, tmp_path: Path, monkeypatch
) -> None:
    photos = coloured_photos((200, 60, 60))
    running.engine.submit(training(photos, tmp_path, "first"))
    running.answer("first")
    monkeypatch.setattr("engine.training_work.TRAINING_QUANTUM_SECONDS", 0.0)
    shoot = MakeHeadshots(
        "s", "ada", "a", str(tmp_path / "first.safetensors"), "{subject}", 1, 1, str(tmp_path / "out")
    )
    endless.engine.submit(training(photos, tmp_path, "second"))
    endless.engine.submit(shoot)
    assert isinstance(endless.answer("s"), HeadshotsMade)
    endless.engine.submit(Cancel("c", "second"))
    assert endless.answer("second") == Failed("second", "cancelled")


def test_nothing_is_written_any_more_when_a_cancellation_is_answered(
    endless: Running, coloured_photos, tmp_path: Path, monkeypatch
) -> None:
    """Whoever asked removes the folder then, and a late checkpoint would make it again."""
    begun, write = threading.Event(), trainer_module.write_parts_atomically

    def slow(path: Path, parts: object) -> None:
        begun.set()
        time.sleep(0.5)
        write(path, parts)

    monkeypatch.setattr(trainer_module, "write_parts_atomically", slow)
    endless.engine._recipe = replace(endless.engine._recipe, save_seconds=0.0)
    endless.engine.submit(training(coloured_photos((200, 60, 60)), tmp_path))
    assert begun.wait(30)
    endless.engine.submit(Cancel("c", "t"))
    assert endless.answer("t") == Failed("t", "cancelled")
    shutil.rmtree(tmp_path / "t")
    time.sleep(0.7)
    assert not (tmp_path / "t").exists()


@pytest.fixture
def roomy(cache_dir: Path) -> Iterator[Running]:
    """As on a large card: adapters are merged and activations kept."""
    engine = Running(cache_dir, odd_check, memory_tier="80gb")
    yield engine
    engine.close()


def test_a_training_without_room_steps_down_and_ends_with_the_same_adapter(
    roomy: Running, coloured_photos, tmp_path: Path, monkeypatch, caplog
) -> None:
    photos = coloured_photos((200, 60, 60))
    roomy.engine.submit(training(photos, tmp_path, "first"))
    assert isinstance(roomy.answer("first"), AdapterTrained)
    transformer, tried = roomy.base.transformer, []
    original = transformer.forward

    def forward(**inputs: object) -> object:
        tried.append(transformer.gradient_checkpointing)
        if torch.is_grad_enabled() and not transformer.gradient_checkpointing:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(**inputs)

    monkeypatch.setattr(transformer, "forward", forward)
    roomy.engine.submit(training(photos, tmp_path, "second"))
    assert isinstance(roomy.answer("second"), AdapterTrained)
    assert tried[0] is False
    assert all(tried[1:]), "once was enough"
    (said,) = [record for record in caplog.records if record.msg == "out_of_memory_steps_down"]
    assert (said.request_id, said.kind) == ("second", "training")
    first, second = (load_file(tmp_path / f"{name}.safetensors") for name in ("first", "second"))
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())
    monkeypatch.undo()
    roomy.engine.submit(training(photos, tmp_path, "third"))
    assert isinstance(roomy.answer("third"), AdapterTrained)
    assert not transformer.gradient_checkpointing, "only that job gave something up"


@pytest.mark.parametrize("times", [1, 2])
def test_work_that_ran_out_of_memory_is_gone_before_memory_is_collected(
    roomy: Running, coloured_photos, tmp_path: Path, monkeypatch, times: int
) -> None:
    """Both where it goes on with less and where it fails for good."""
    engine, works, left = roomy.engine, list[weakref.ref](), list[bool]()
    make, collect = engine._make, engine._resources.collect

    def note(*given: object) -> object:
        work = make(*given)
        works.append(weakref.ref(work))
        return work

    def look() -> None:
        error.__traceback__ = None  # a real error is not kept, as this test does
        collect()
        left.append(works[len(left)]() is not None)

    error = torch.OutOfMemoryError("CUDA out of memory")
    break_next(roomy, monkeypatch, error, times)
    monkeypatch.setattr(engine, "_make", note)
    monkeypatch.setattr(engine._resources, "collect", look)
    monkeypatch.setattr(engine._resources, "_give_up", lambda: None)
    engine.submit(training(coloured_photos((200, 60, 60)), tmp_path))
    roomy.answer("t")
    assert left == [False] * times


def headshots(folder: Path, adapter: str, name: str) -> MakeHeadshots:
    return MakeHeadshots(
        name, "ada", "a", str(folder / f"{adapter}.safetensors"), "{subject}", 1, 1, str(folder / name)
    )


def test_a_shoot_without_room_steps_down_and_draws_the_same(
    roomy: Running, coloured_photos, tmp_path: Path, monkeypatch, caplog
) -> None:
    roomy.engine.submit(training(coloured_photos((200, 60, 60)), tmp_path, "first"))
    roomy.answer("first")
    roomy.engine.submit(headshots(tmp_path, "first", "merged"))
    merged = roomy.answer("merged")
    serving = roomy.engine._resources.serving
    assert serving.merges == 1
    original = serving.base.transformer.forward

    def forward(**inputs: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(serving.base.transformer, "forward", forward)
    roomy.engine.submit(headshots(tmp_path, "first", "branch"))
    branch = roomy.answer("branch")
    assert serving.released, "its memory was given back"
    assert [record.kind for record in caplog.records if record.msg == "out_of_memory_steps_down"] == ["shoot"]
    monkeypatch.setattr(serving.base.transformer, "forward", original)
    roomy.engine.submit(headshots(tmp_path, "first", "again"))
    again = roomy.answer("again")
    assert not serving.released, "and taken again for the next"
    pictures = [np.asarray(Image.open(made.pictures[0].path), int) for made in (merged, branch, again)]
    # A level of a few pixels before JPEG (see test_merging.py) is a few levels of their block after it.
    apart = np.abs(pictures[0] - pictures[1])
    assert apart.max() <= 8
    assert apart.mean() < 0.05
    assert np.array_equal(pictures[0], pictures[2])


def test_without_room_at_all_the_job_fails_and_the_engine_lives(
    roomy: Running, coloured_photos, tmp_path: Path, monkeypatch
) -> None:
    photos = coloured_photos((200, 60, 60))
    break_next(roomy, monkeypatch, torch.OutOfMemoryError("CUDA out of memory"), times=1000)
    roomy.engine.submit(training(photos, tmp_path))
    failed = roomy.answer("t")
    assert (failed.reason, failed.retry) == ("out_of_memory", True)
    monkeypatch.undo()
    roomy.engine.submit(training(photos, tmp_path))
    assert isinstance(roomy.answer("t"), AdapterTrained)


def test_a_forgotten_adapter_leaves_the_weights(roomy: Running, coloured_photos, tmp_path: Path) -> None:
    roomy.engine.submit(training(coloured_photos((200, 60, 60)), tmp_path, "first"))
    roomy.answer("first")
    serving = roomy.engine._resources.serving
    pristine = {name: each.clone() for name, each in serving.base.transformer.state_dict().items()}
    roomy.engine.submit(headshots(tmp_path, "first", "s"))
    roomy.answer("s")
    state = serving.base.transformer.state_dict
    assert not all(torch.equal(each, pristine[name]) for name, each in state().items())
    roomy.engine.submit(ForgetAdapter("f", "a"))
    roomy.engine.submit(Cancel("c", "nobody"))
    roomy.answer("nobody")
    assert all(torch.equal(each, pristine[name]) for name, each in state().items())


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_training_that_ends_leaves_nothing_of_its_looks(
    roomy: Running, coloured_photos, tmp_path: Path, monkeypatch, cancelled: bool
) -> None:
    """However it ends: what was merged is the face of somebody who may have asked for deletion."""
    serving, slot = roomy.engine._resources.serving, roomy.engine._resources.slot
    pristine = {name: each.clone() for name, each in serving.base.transformer.state_dict().items()}
    advance, looked = TrainingWork.quantum, threading.Event()

    def with_a_look(work: TrainingWork) -> object:
        info = AdapterInfo("a", "ada", "r", 4)
        tensors = {name: torch.ones(slot.shape(name, 4)) for name in slot.names}
        with serving.holding(Adapter(info, tensors)):
            looked.set()
            return advance(work)

    monkeypatch.setattr(TrainingWork, "quantum", with_a_look)
    roomy.engine.submit(training(coloured_photos((200, 60, 60)), tmp_path))
    assert looked.wait(30)
    if cancelled:
        roomy.engine.submit(Cancel("c", "t"))
    assert isinstance(roomy.answer("t"), Failed if cancelled else AdapterTrained)
    roomy.engine.submit(Cancel("c", "nobody"))
    roomy.answer("nobody")
    assert serving._held is None
    state = serving.base.transformer.state_dict()
    assert all(torch.equal(each, pristine[name]) for name, each in state.items())


def test_a_training_that_diverges_with_a_doubtful_kernel_goes_on_with_another(
    running: Running, coloured_photos: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = training(coloured_photos((200, 60, 60), 4), tmp_path, "straight")
    running.engine.submit(straight)
    assert isinstance(running.answer("straight"), AdapterTrained)
    accelerated, begun = running.engine._acceleration, []
    accelerated.attention = Attention("cudnn", None)
    original, step = trainer_module.Training.__init__, trainer_module.Training.step

    def counted(self: object, *given: object, **more: object) -> None:
        begun.append(self)
        original(self, *given, **more)

    def diverges_once(self: trainer_module.Training) -> float:
        if self.step_index == 3 and accelerated.attention.training == "cudnn":
            raise trainer_module.TrainingDiverged(3)
        return step(self)

    monkeypatch.setattr(trainer_module.Training, "__init__", counted)
    monkeypatch.setattr(trainer_module.Training, "step", diverges_once)
    request = training(coloured_photos((200, 60, 60), 4), tmp_path, "doubtful")
    running.engine.submit(request)
    assert isinstance(running.answer("doubtful"), AdapterTrained)
    assert len(begun) == 2
    assert begun[1].resumed
    assert accelerated.attention == Attention("flash", None)
    one, other = (load_file(each.adapter_path) for each in (straight, request))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_one_that_cannot_be_saved_then_ends_alone(
    running: Running, coloured_photos: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accelerated = running.engine._acceleration
    accelerated.attention = Attention("cudnn", None)
    step, save = trainer_module.Training.step, trainer_module.Training.save

    def diverges_once(self: trainer_module.Training) -> float:
        if self.step_index == 3 and accelerated.attention.training == "cudnn":
            raise trainer_module.TrainingDiverged(3)
        return step(self)

    def full(self: trainer_module.Training) -> None:
        if self.step_index == 3:
            raise OSError(errno.ENOSPC, "no space left")
        save(self)

    monkeypatch.setattr(trainer_module.Training, "step", diverges_once)
    monkeypatch.setattr(trainer_module.Training, "save", full)
    running.engine.submit(training(coloured_photos((200, 60, 60), 4), tmp_path, "full"))
    assert running.answer("full").reason == "disk_full"
    monkeypatch.setattr(trainer_module.Training, "save", save)
    running.engine.submit(training(coloured_photos((200, 60, 60), 4), tmp_path, "next"))
    assert isinstance(running.answer("next"), AdapterTrained)


def test_one_that_diverges_by_itself_fails(
    running: Running, coloured_photos: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(self: trainer_module.Training) -> float:
        raise trainer_module.TrainingDiverged(self.step_index)

    monkeypatch.setattr(trainer_module.Training, "step", diverges)
    running.engine.submit(training(coloured_photos((200, 60, 60), 4), tmp_path))
    assert running.answer("t").reason == "training_diverged"


class Desk:
    """Marks headshots, each when it is let."""

    def __init__(self) -> None:
        self.begun, self.let, self.marked = threading.Semaphore(0), threading.Semaphore(0), 0

    def finish(self, path: Path, pixels: np.ndarray) -> None:
        self.begun.release()
        assert self.let.acquire(timeout=20)
        write_picture(path, pixels)
        self.marked += 1


@pytest.fixture
def marking(running: Running, coloured_photos, tmp_path: Path) -> Iterator[tuple[Running, Desk]]:
    """A shoot of two, drawn, whose first picture is being marked."""
    desk = Desk()
    running.engine.submit(training(coloured_photos((200, 60, 60)), tmp_path, "first"))
    assert isinstance(running.answer("first"), AdapterTrained)
    running.engine._finish = desk.finish
    running.engine.submit(replace(headshots(tmp_path, "first", "s"), count=2))
    assert desk.begun.acquire(timeout=20)
    yield running, desk
    desk.let.release(100)


def test_while_a_shoot_only_waits_the_gpu_is_others_and_nobody_asks_it(
    marking: tuple[Running, Desk], coloured_photos, tmp_path: Path, monkeypatch
) -> None:
    (running, desk), asked = marking, list[str]()
    quantum = running.engine._quantum
    monkeypatch.setattr(running.engine, "_quantum", lambda task_id: asked.append(task_id) or quantum(task_id))
    running.engine.submit(training(coloured_photos((60, 60, 200)), tmp_path, "second"))
    assert isinstance(running.answer("second"), AdapterTrained)
    time.sleep(0.2)
    assert asked.count("second") > 1
    assert asked.count("s") == 0
    desk.let.release(2)
    assert len(running.answer("s").pictures) == 2
    assert asked.count("s") == 1, "not for each picture: that it could only wait for the next is known"


def test_what_was_drawn_before_a_step_down_is_not_drawn_again(
    running: Running, coloured_photos, tmp_path: Path, monkeypatch
) -> None:
    """Also what the thread beside the GPU has not come to."""
    running.engine.submit(training(coloured_photos((200, 60, 60)), tmp_path, "first"))
    assert isinstance(running.answer("first"), AdapterTrained)
    inspect, decode, decoded = running.engine._inspector.inspect, running.base.vae.decode, []

    def slow(pixels: np.ndarray) -> object:
        time.sleep(0.3)
        return inspect(pixels)

    def third_finds_no_room(*given: object, **more: object) -> object:
        decoded.append(given)
        if len(decoded) == 3:
            raise torch.OutOfMemoryError
        return decode(*given, **more)

    monkeypatch.setattr(running.engine._inspector, "inspect", slow)
    monkeypatch.setattr(running.base.vae, "decode", third_finds_no_room)
    running.engine.submit(replace(headshots(tmp_path, "first", "s"), count=2))
    made = running.answer("s")
    assert isinstance(made, HeadshotsMade)
    assert len(decoded) == made.tried + 1


def test_trainings_are_saved_first_when_it_stops(running: Running) -> None:
    """A shoot's pictures are waited for, and whoever waits for the engine does not for ever."""
    saved = list[str]()
    for name, kind in (("s", Kind.SHOOT), ("t", Kind.TRAINING), ("u", Kind.SHOOT)):
        work = SimpleNamespace(id=name, kind=kind, checkpoint=lambda name=name: saved.append(name))
        running.engine._work[name] = work
    running.close()
    assert saved == ["t", "s", "u"]


def test_a_shoot_that_is_cancelled_while_it_waits_marks_nothing_more(
    marking: tuple[Running, Desk], tmp_path: Path
) -> None:
    running, desk = marking
    running.engine.submit(Cancel("c", "s"))
    time.sleep(0.1)
    assert running.engine._work, "what is being written is waited for"
    desk.let.release(100)
    assert running.answer("s") == Failed("s", "cancelled")
    assert desk.marked == 1
    shutil.rmtree(tmp_path / "s")
    time.sleep(0.2)
    assert not (tmp_path / "s").exists()
    assert not running.engine._work


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (FaceModelUnusable("model", "is missing", "Put it back"), "face_model_unusable"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("the network fell over"), "engine_failed"),
    ],
)
def test_what_goes_wrong_beside_the_gpu_is_that_shoots_failure(
    running: Running, coloured_photos, tmp_path: Path, monkeypatch, error: Exception, reason: str
) -> None:
    running.engine.submit(training(coloured_photos((200, 60, 60)), tmp_path, "first"))
    assert isinstance(running.answer("first"), AdapterTrained)
    threads = list[str]()

    def odd(pixels: np.ndarray) -> object:
        threads.append(threading.current_thread().name)
        raise error

    monkeypatch.setattr(running.engine._inspector, "inspect", odd)
    running.engine.submit(replace(headshots(tmp_path, "first", "s"), count=2))
    failed = running.answer("s")
    assert isinstance(failed, Failed)
    assert failed.reason == reason
    assert running._thread.name not in threads
    monkeypatch.undo()
    running.engine.submit(replace(headshots(tmp_path, "first", "s"), count=2))
    assert isinstance(running.answer("s"), HeadshotsMade)
