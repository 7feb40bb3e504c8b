"""The engine as a process, spoken to as its worker does."""

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.config import EngineConfig
from engine.messages import Message, Reply, decode, encode

ROOT = Path(__file__).parent.parent.parent
PATIENCE_SECONDS = 60.0


class EngineProcess:
    """Started with a config; `replies` keeps everything it said, in order."""

    def __init__(self, config: EngineConfig | str) -> None:
        text = config if isinstance(config, str) else config.to_json()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "engine", "--config", text],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.replies: list[Reply] = []
        self.logs: list[str] = []
        self._arrived: queue.Queue[Reply | None] = queue.Queue()
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._read_logs)]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> "EngineProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(5)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def send(self, *messages: Message) -> None:
        assert self.process.stdin is not None
        for message in messages:
            self.process.stdin.write(encode(message) + "\n")
        self.process.stdin.flush()

    def send_raw(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def wait_for(self, wanted: Callable[[Any], bool]) -> Any:
        """The next reply that is `wanted`; those before it are kept in `replies` alone."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                reply = self._arrived.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(
                    f"no such reply; got {self.replies[-5:]}, logs {self.logs[-5:]}"
                ) from None
            if reply is None:
                raise AssertionError(f"the engine ended; got {self.replies[-5:]}, logs {self.logs[-20:]}")
            if wanted(reply):
                return reply

    def end_input(self) -> int:
        """Close standard input, as a worker that dies does; the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(timeout=PATIENCE_SECONDS)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            reply = decode(line)
            self.replies.append(reply)
            self._arrived.put(reply)
        self._arrived.put(None)

    def _read_logs(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.logs.append(line)
