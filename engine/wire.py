"""The engine's ends of the pipe to its worker: requests in, replies out, logs aside."""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any

from engine.messages import Reply, Request, decode, encode

log = logging.getLogger(__name__)

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class ReplyStream:
    """Writes replies, a line each, from any thread. When nobody reads any more it says so."""

    def __init__(self, stream: IO[str], closed: Callable[[], None]) -> None:
        self._stream, self._closed, self._lock = stream, closed, threading.Lock()

    def send(self, reply: Reply) -> None:
        """One line, at once."""
        with self._lock:
            try:
                self._stream.write(encode(reply) + "\n")
                self._stream.flush()
            except (BrokenPipeError, ValueError):
                self._closed()


def claim_stdout() -> IO[str]:
    """Standard output for replies alone: whatever else prints there, in any language, lands in the logs."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return replies


def read_requests(
    stream: IO[str], accept: Callable[[Request], None], ended: Callable[[], None]
) -> threading.Thread:
    """Read lines in a thread of its own until the end of input. What is no request is logged and skipped."""

    def read() -> None:
        for line in stream:
            if not line.strip():
                continue
            try:
                message = decode(line)
            except ValueError:
                log.error("request_not_understood", extra={"length": len(line)})
                continue
            if isinstance(message, Request):
                accept(message)
        ended()

    thread = threading.Thread(target=read, name="requests", daemon=True)
    thread.start()
    return thread


class JsonLines(logging.Formatter):
    """A log record as one JSON object: time, level, event, and what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Never holds photos or prompts: nothing logs them."""
        values: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        values |= {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps(values, default=str)


def log_to_stderr() -> None:
    """JSON lines from here on; other people's libraries only from warnings up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("engine").setLevel(logging.INFO)
    logging.captureWarnings(True)
