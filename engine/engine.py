"""The engine: takes requests, runs the GPU's work a quantum at a time, reports. One thread owns the GPU.

It ends at the end of input or when told to stop, after a checkpoint of what is under way. Requests may come
twice, also after a crash: each is answered from what is already on disk.
"""

import errno
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

import torch
from accelerate import Accelerator

from engine.acceleration import Acceleration
from engine.beside import Beside
from engine.config import EngineConfig
from engine.errors import AdapterCorrupt, EngineError
from engine.inspection import Inspector
from engine.lora import load_adapter
from engine.messages import (
    Cancel,
    CheckPhoto,
    Failed,
    ForgetAdapter,
    MakeHeadshots,
    PhotoChecked,
    Progress,
    Reply,
    Request,
    TrainAdapter,
)
from engine.metrics import Metrics
from engine.models import Base
from engine.pictures import Finish
from engine.presets import recipe_for
from engine.residency import device_id
from engine.resources import Resources
from engine.scheduler import Kind, Scheduler
from engine.shoot_work import ShootWork
from engine.tiers import Allowance
from engine.trainer import Training, TrainingDiverged
from engine.training_work import TrainingWork, trained
from engine.work import Work

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.5
IDLE_SECONDS = 5.0

Send = Callable[[Reply], None]
Check = Callable[[CheckPhoto], PhotoChecked]


class DeviceLost(EngineError):
    """The GPU's context is poisoned for good: only a new process helps. Work goes on from its checkpoints."""

    reason = "device_lost"


@dataclass(frozen=True)
class _Awake:
    """Work that waited for a thread beside the GPU may go on."""

    id: str


class PhotoDesk:
    """Checks photos in a thread of its own: nobody's selfies wait for the GPU."""

    def __init__(self, check: Check, send: Send) -> None:
        self._check, self._send = check, send
        self._waiting: SimpleQueue[CheckPhoto] = SimpleQueue()
        threading.Thread(target=self._run, name="photos", daemon=True).start()

    def submit(self, request: CheckPhoto) -> None:
        """Queue a photo."""
        self._waiting.put(request)

    def _run(self) -> None:
        while True:
            request = self._waiting.get()
            try:
                self._send(self._check(request))
            except Exception as error:  # noqa: BLE001 - the thread's one boundary: a photo must not end it
                self._send(_failure(request.id, error))


class Engine:
    """Owns the base, the adapters and the schedule. `run` is the GPU's thread; `submit` and `stop` are for
    the others."""

    def __init__(self, config: EngineConfig, base: Base, check: Check, send: Send, finish: Finish) -> None:
        self._config, self._base, self._send, self._finish = config, base, send, finish
        self._recipe = recipe_for(config.preset, base.settings)
        self._resources = Resources(base, config)
        self._acceleration = Acceleration(self._resources, self._recipe, config.compile, config.attention)
        self._acceleration.start()
        self._inspector = Inspector(config)
        self._accelerator = Accelerator(cpu=base.device.type == "cpu", mixed_precision="no")
        self._photos = PhotoDesk(check, send)
        self._processor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside-the-gpu")
        self._scheduler = Scheduler()
        self._metrics = Metrics(config.metrics_dir, device_id(base.device))
        self._metrics.write()
        self._work: dict[str, Work] = {}
        self._asked: dict[str, tuple[TrainAdapter | MakeHeadshots, Allowance]] = {}
        self._reported: dict[str, tuple[float, str, int]] = {}
        self._inbox: SimpleQueue[Request | _Awake | None] = SimpleQueue()
        self._stopping = False

    def submit(self, request: Request) -> None:
        """Take a request, from any thread."""
        if isinstance(request, CheckPhoto):
            self._photos.submit(request)
        else:
            self._inbox.put(request)

    def stop(self) -> None:
        """Stop after the current quantum, from any thread or a signal handler."""
        self._stopping = True
        self._inbox.put(None)

    def run(self) -> None:
        """Until stopped. Raises DeviceLost."""
        try:
            self._run()
        finally:  # the process could not end before it has done all
            self._processor.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        while not self._stopping:
            self._take_requests(wait=self._scheduler.idle)
            task_id = None if self._stopping else self._scheduler.next()
            if task_id is not None:
                self._run_quantum(task_id)
        # A shoot's waits for the processor; a training's must not wait for that.
        for work in sorted(self._work.values(), key=lambda work: work.kind is Kind.SHOOT):
            self._guard(work.id, work.checkpoint)
        log.info("engine_stopped", extra={"unfinished": len(self._work)})

    def _take_requests(self, wait: bool) -> None:
        try:
            request = self._inbox.get(timeout=IDLE_SECONDS) if wait else self._inbox.get_nowait()
            while not self._stopping:
                if request is not None:
                    self._handle(request)
                request = self._inbox.get_nowait()
        except Empty:
            return

    def _handle(self, request: Request | _Awake) -> None:
        match request:
            case _Awake():
                if request.id in self._work and not self._work[request.id].waiting:
                    self._scheduler.resume(request.id)
            case Cancel():
                self._cancel(request.target_id)
            case ForgetAdapter():  # nobody waits for an answer
                self._guard(request.id, partial(self._resources.forget, request.adapter_id))
            case TrainAdapter() | MakeHeadshots() if request.id not in self._work:
                failed = self._guard(request.id, partial(self._begin, request))
                if failed is not None:
                    self._send(failed)

    def _begin(self, request: TrainAdapter | MakeHeadshots) -> None:
        if isinstance(request, TrainAdapter) and self._already_trained(request):
            return
        work = self._make(request, self._resources.all)
        self._work[work.id] = work
        self._asked[work.id] = request, self._resources.all
        self._scheduler.add(work.id, work.kind, work.person_id)
        self._metrics.begun(work.kind)
        self._report_queue()

    def _make(self, request: TrainAdapter | MakeHeadshots, allowance: Allowance) -> Work:
        resources = self._resources
        if isinstance(request, TrainAdapter):
            return TrainingWork(
                request, self._base, resources.slot, self._recipe, self._accelerator, self._inspector,
                resources.recorder(allowance), resources.drawing(allowance),
            )  # fmt: skip
        base, holder = resources.drawing(allowance)
        beside = Beside(self._processor, partial(self._inbox.put, _Awake(request.id)))
        return ShootWork(
            request, base, holder, resources.shelf, self._inspector, self._finish, beside,
            self._config.candidates_per_headshot,
        )  # fmt: skip

    def _already_trained(self, request: TrainAdapter) -> bool:
        """Whether the adapter is complete on disk; then that is the answer."""
        path = Path(request.adapter_path)
        if not path.is_file():
            return False
        try:
            # On the CPU: this is to look at, and takes no room from whoever draws.
            adapter = load_adapter(
                path, self._resources.slot, self._base.folder.revision, torch.device("cpu")
            )
        except AdapterCorrupt as error:
            log.warning("adapter_replaced", extra={"request_id": request.id, "problem": error.problem})
            return False
        if (adapter.info.adapter_id, adapter.info.person_id) != (request.adapter_id, request.person_id):
            return False
        self._send(trained(request, adapter.info, seconds=0.0))
        return True

    def _cancel(self, target_id: str) -> None:
        """Also what is not known (any more) is answered: nobody waits for it in vain."""
        self._drop(target_id, "cancelled")
        self._send(Failed(target_id, "cancelled"))
        self._report_queue()

    def _run_quantum(self, task_id: str) -> None:
        begun, kind = time.monotonic(), self._work[task_id].kind
        reply = self._guard(task_id, lambda: self._quantum(task_id))
        spent = time.monotonic() - begun
        self._scheduler.ran(task_id, spent)
        self._metrics.ran(kind, spent)
        if task_id in self._work:  # it is not, where it could not go on with what has changed
            self._work[task_id].compute_seconds += spent
        if isinstance(reply, Progress):
            if self._work[task_id].waiting:
                self._scheduler.pause(task_id)
            self._report(reply)
        elif reply is not None:
            self._end(task_id, reply)

    def _end(self, task_id: str, reply: Reply) -> None:
        work = self._work[task_id]
        said = {
            "request_id": task_id,
            "kind": work.kind.value,
            "reply": type(reply).__name__,
            "compute_ms": round(work.compute_seconds * 1000),
            "recompiles": self._acceleration.recompiles,
        }
        del work
        self._drop(task_id, reply.reason if isinstance(reply, Failed) else "done")
        if isinstance(reply, Failed) and reply.reason == "out_of_memory":
            self._resources.collect()
        self._send(reply)
        log.info("request_done", extra=said)
        self._report_queue()

    def _quantum(self, task_id: str) -> Reply | None:
        """Of work with what it is allowed. Where that was too little, the next quantum begins again from what
        is on disk, with less; None then."""
        request, allowance = self._asked[task_id]
        try:
            self._resources.grant(allowance)
            reply = self._work[task_id].quantum()
            self._resources.wait()  # a GPU does later what it is told: it is this work's time, and its error
            return reply
        except TrainingDiverged:
            if not self._acceleration.distrust_attention():
                raise
            self._train_again()
            return None
        except Exception as error:
            less = allowance.less()
            if less is None or not _is_out_of_memory(error):
                raise
        # Out of the handler: the error's frames hold the tensors that there was no room for. So would the
        # work that had too little: it is gone, all of it, before memory is collected.
        kind = self._work[task_id].kind.value
        log.warning("out_of_memory_steps_down", extra={"request_id": task_id, "kind": kind})
        self._metrics.stepped_down(kind)
        self._asked[task_id] = request, less
        if isinstance(request, MakeHeadshots):  # what was drawn with more is not drawn again with less
            self._work[task_id].checkpoint()
        self._close(task_id)
        for training in self._trainings().values():
            training.forget_recordings()
        self._work[task_id] = self._make(request, less)
        self._resources.collect()
        return None

    def _train_again(self) -> None:
        """Every training goes on from where it is with what has changed since it began."""
        for task_id, training in self._trainings().items():
            if not training.finished:
                failed = self._guard(task_id, partial(self._from_checkpoint, task_id))
                if failed is not None:
                    self._end(task_id, failed)

    def _from_checkpoint(self, task_id: str) -> None:
        self._work[task_id].checkpoint()
        self._close(task_id)
        self._work[task_id] = self._make(*self._asked[task_id])

    def _trainings(self) -> dict[str, Training]:
        """Those that have begun."""
        works = {task_id: work for task_id, work in self._work.items() if isinstance(work, TrainingWork)}
        return {task_id: work.training for task_id, work in works.items() if work.training is not None}

    def _guard(self, task_id: str, act: Callable[[], Reply | None]) -> Reply | None:
        """Run what was asked for; what goes wrong in it ends that alone, unless the GPU is lost."""
        try:
            return act()
        except Exception as error:
            if self._is_lost(error):
                raise DeviceLost(str(error)) from error
            return _failure(task_id, error)

    def _is_lost(self, error: Exception) -> bool:
        """Whether the GPU is. Libraries say so in words of their own; the next call says it in torch's."""
        try:
            self._resources.wait()
        except torch.AcceleratorError:
            return True
        return isinstance(error, torch.AcceleratorError)

    def _report(self, progress: Progress) -> None:
        now = time.monotonic()
        last, stage, _ = self._reported.get(progress.id, (0.0, "", 0))
        if stage != progress.stage or now - last >= PROGRESS_SECONDS:
            self._reported[progress.id] = (now, progress.stage, 0)
            self._send(progress)

    def _report_queue(self) -> None:
        """Tell those that wait how many are ahead of them, where that changed."""
        for task_id in self._work:
            _, stage, told = self._reported.get(task_id, (0.0, "", -1))
            ahead = self._scheduler.ahead(task_id)
            if stage in ("", "queued") and told != ahead:
                self._reported[task_id] = (time.monotonic(), "queued", ahead)
                self._send(Progress(task_id, "queued", ahead=ahead))

    def _close(self, task_id: str) -> None:
        """Leave nothing of a work but what is on disk."""
        self._work[task_id].close()
        request, _ = self._asked[task_id]
        if isinstance(request, TrainAdapter):  # looks at it were merged, as far as it had come
            self._resources.forget(request.adapter_id)

    def _drop(self, task_id: str, outcome: str) -> None:
        if task_id in self._work:
            self._metrics.ended(self._work[task_id].kind, outcome, self._acceleration.recompiles)
            self._close(task_id)
        self._work.pop(task_id, None)
        self._asked.pop(task_id, None)
        self._reported.pop(task_id, None)
        self._scheduler.remove(task_id)


def _failure(request_id: str, error: Exception) -> Failed:
    """What an error means to whoever asked."""
    reason, retry = "engine_failed", False
    if isinstance(error, EngineError):
        reason = error.reason
    elif _is_out_of_memory(error):
        reason, retry = "out_of_memory", True
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason, retry = "disk_full", True
    unexpected = reason == "engine_failed"
    log.error(
        "request_failed",
        extra={"request_id": request_id, "reason": reason},
        exc_info=error if unexpected else None,
    )
    return Failed(request_id, reason, detail=f"{type(error).__name__}: {error}"[:500], retry=retry)


def _is_out_of_memory(error: Exception) -> bool:
    said = ("can't allocate memory", "_STATUS_ALLOC_FAILED")  # torch's of the host, and CUDA's libraries
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(each in str(error) for each in said)
