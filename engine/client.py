"""The engine process from its worker's side: started, asked, watched, started again when it dies.

Knows the protocol and nothing of jobs. Importing it costs no torch.
"""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from engine.config import EngineConfig
from engine.errors import EngineError
from engine.messages import (
    PROTOCOL_VERSION,
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
    Reply,
    Request,
    TrainAdapter,
    decode,
    encode,
)

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "engine")
LINE_BYTES_MAX = 16 << 20
RESTART_SECONDS, RESTART_SECONDS_MAX = 0.2, 30.0
CALM_SECONDS = 60.0  # an engine that lived so long starts again at once
NOT_READY_SECONDS = 60.0  # until the operator may have mended it
GRACE_SECONDS = 20.0  # for a last checkpoint

Outcome = PhotoChecked | AdapterTrained | HeadshotsMade | Failed
Work = CheckPhoto | TrainAdapter | MakeHeadshots


class EngineGone(EngineError):
    """The engine died or was stopped before it answered; the same request may be made again."""

    reason = "engine_gone"


@dataclass
class _Waiting:
    on_progress: Callable[[Progress], None]
    outcome: "asyncio.Future[Outcome]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class EngineClient:
    """One engine process at a time. `start` it once, `close` it once.

    environ: the engine's environment; None = this process's. command: what runs instead of the engine, for
    tests.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        environ: Mapping[str, str] | None = None,
        command: Sequence[str] = COMMAND,
        not_ready_seconds: float = NOT_READY_SECONDS,
    ) -> None:
        self._command = (*command, "--config", config.to_json())
        self._environ, self._not_ready_seconds = environ, not_ready_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._ready, self._closing = asyncio.Event(), asyncio.Event()
        self._complaint: NotReady | None = None

    @property
    def pid(self) -> int | None:
        """The engine's process id while it lives."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def start(self) -> None:
        """Begin to keep an engine alive; returns at once."""
        self._keeper = asyncio.create_task(self._keep_alive())

    async def ready(self) -> bool:
        """Wait until an engine takes requests; False once this client is being closed."""
        closing, ready = (asyncio.create_task(event.wait()) for event in (self._closing, self._ready))
        try:
            await asyncio.wait({closing, ready}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
            ready.cancel()
        return not self._closing.is_set()

    async def request(
        self, request: Work, on_progress: Callable[[Progress], None] = lambda progress: None
    ) -> Outcome:
        """Ask and wait for the final answer. Raises EngineGone if the engine dies first.

        Whoever stops waiting without `cancel` leaves the engine at work.
        """
        if not await self.ready():
            raise EngineGone("the engine is being stopped")
        waiting = self._waiting[request.id] = _Waiting(on_progress)
        try:
            await self._send(request)
            return await waiting.outcome
        finally:
            if self._waiting.get(request.id) is waiting:
                del self._waiting[request.id]

    async def cancel(self, request_id: str) -> None:
        """Have a request stopped; whoever waits for it gets `Failed(reason="cancelled")`."""
        with contextlib.suppress(EngineGone):
            await self._send(Cancel(f"cancel {request_id}", request_id))

    async def forget(self, adapter_id: str) -> None:
        """Have everything cached of an adapter dropped."""
        with contextlib.suppress(EngineGone):
            await self._send(ForgetAdapter(f"forget {adapter_id}", adapter_id))

    async def close(self) -> None:
        """Stop the engine after a checkpoint of what is under way; safe to call twice."""
        self._closing.set()
        if self._keeper is None:
            return
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(GRACE_SECONDS):
                    await asyncio.shield(self._keeper)
            except TimeoutError:
                log.warning("engine_killed", extra={"grace_seconds": GRACE_SECONDS})
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        await self._keeper

    async def _keep_alive(self) -> None:
        deaths = 0
        while not self._closing.is_set():
            begun = time.monotonic()
            status = await self._live()
            self._ready.clear()
            self._fail_waiting(f"status {status}")
            if self._closing.is_set():
                return
            deaths = 1 if time.monotonic() - begun > CALM_SECONDS else deaths + 1
            pause = min(RESTART_SECONDS_MAX, RESTART_SECONDS * 2 ** min(deaths - 1, 20))
            if self._complaint:
                pause = self._not_ready_seconds
                log.error(
                    "engine_not_ready: %s", self._complaint.sentence, extra={"reason": self._complaint.reason}
                )
            log.warning("engine_ended", extra={"status": status, "restart_in_seconds": pause})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._closing.wait()

    async def _live(self) -> int | None:
        """One life of the engine; its exit status, None where it could not even start."""
        self._complaint = None
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=dict(self._environ) if self._environ is not None else None,
                limit=LINE_BYTES_MAX,
            )
        except OSError as error:
            log.error("engine_not_started", extra={"problem": str(error)})
            return None
        log.info("engine_started", extra={"pid": process.pid})
        if self._closing.is_set():  # close() came while it was being started
            process.terminate()
        assert process.stdout
        try:
            while line := await process.stdout.readline():
                self._take(line.decode(errors="replace"))
        except ValueError:
            log.error("engine_line_too_long", extra={"limit_bytes": LINE_BYTES_MAX})
        finally:
            if process.returncode is None and process.stdout.at_eof() is False:
                process.kill()
        return await process.wait()

    def _take(self, line: str) -> None:
        try:
            reply = decode(line)
        except ValueError:
            log.error("engine_reply_not_understood", extra={"length": len(line)})
            return
        waiting = self._waiting.get(reply.id)
        match reply:
            case Ready() if reply.protocol != PROTOCOL_VERSION:
                sentence = f"The engine speaks protocol {reply.protocol}, this worker {PROTOCOL_VERSION}."
                self._complaint = NotReady(reason="protocol", sentence=f"{sentence} Install one release.")
                if self._process:
                    self._process.terminate()
            case Ready():
                log.info("engine_ready", extra={"facts": reply.facts})
                self._ready.set()
            case NotReady():
                self._complaint = reply
            case Progress() if waiting:
                waiting.on_progress(reply)
            case PhotoChecked() | AdapterTrained() | HeadshotsMade() | Failed() if waiting:
                if not waiting.outcome.done():
                    waiting.outcome.set_result(reply)
            case _:
                log.debug("engine_reply_unwanted", extra={"reply": type(reply).__name__})

    async def _send(self, request: Request) -> None:
        process = self._process
        if process is None or process.stdin is None or process.returncode is not None:
            raise EngineGone("there is no engine")
        try:
            process.stdin.write(encode(request).encode() + b"\n")
            await process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise EngineGone("the engine closed its input") from error

    def _fail_waiting(self, why: str) -> None:
        for waiting in self._waiting.values():
            if not waiting.outcome.done():
                waiting.outcome.set_exception(EngineGone(why))


__all__ = ["EngineClient", "EngineGone", "Outcome", "Reply"]
