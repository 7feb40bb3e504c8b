"""Logs as JSON, one object a line, on standard error: facts and ids, never photos, tokens or message text."""

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from bot.config import Settings
from bot.errors import LikenessError

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# A Telegram token stands in the address of every call, so libraries may put it into their messages.
_TELEGRAM_TOKEN = re.compile(r"\d{6,12}:[A-Za-z0-9_-]{30,}")
_ABOUT: ContextVar[dict[str, Any] | None] = ContextVar("about", default=None)
_CHATTY = (
    "httpx",
    "httpcore",
    "telegram",
    "discord",
    "arq",
    "alembic",
    "sqlalchemy.engine",
    "PIL",
    "urllib3",
)
# They speak of files, types and fields. Others may quote what somebody wrote: pydantic does, and drivers.
_DISCREET = (LikenessError, OSError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError)


class JsonLines(logging.Formatter):
    """Fixed fields first (at, level, process, source, event), then what the call gave in `extra`."""

    def __init__(self, process: str, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._process = process
        self._secrets = tuple(secret for secret in secrets if len(secret) >= 8)

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "source": record.name,
            "event": record.getMessage(),
            **(_ABOUT.get() or {}),
            **{key: value for key, value in vars(record).items() if key not in _OWN},
        }
        if record.exc_info:
            line["trace"] = _trace(record.exc_info[1])
        return self._redacted(json.dumps(line, default=str, ensure_ascii=False))

    def _redacted(self, line: str) -> str:
        for secret in self._secrets:
            line = line.replace(secret, "[secret]")
        return _TELEGRAM_TOKEN.sub("[secret]", line)


def _trace(error: BaseException | None) -> str:
    """Where it happened, cause first; what it says only where that cannot hold anybody's words."""
    if error is None:
        return ""
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    said = f": {error}" if isinstance(error, _DISCREET) else ""
    here = "".join(traceback.format_tb(error.__traceback__))
    return "\n".join(filter(None, [_trace(earlier), f"{here}{type(error).__qualname__}{said}"]))


def setup(process: str, level: str, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Send this process's logs to `stream` (standard error). Call it at the entry of the process."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(process, secrets))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    logging.captureWarnings(True)


@contextmanager
def about(**facts: Any) -> Iterator[None]:
    """Every line logged inside, here and in tasks begun here, carries these fields."""
    token = _ABOUT.set({**(_ABOUT.get() or {}), **facts})
    try:
        yield
    finally:
        _ABOUT.reset(token)


@contextmanager
def to_file(process: str, settings: Settings) -> Iterator[Path]:
    """Send the logs to a file in the data folder instead, where the screen belongs to a chat; its path."""
    path = settings.bot.data_dir / "logs" / f"{process}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    secrets = [value.get_secret_value() for value in settings.secrets.values()]
    with path.open("a") as stream:
        setup(process, settings.bot.log_level, secrets, stream)
        try:
            yield path
        finally:
            setup(process, settings.bot.log_level, secrets)
