"""Files that are whole or absent, whatever happens while they are written."""

import contextlib
import fcntl
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path`, bring it to the disk, then take its place. Raises OSError."""
    write_parts_atomically(path, [content])


def write_parts_atomically(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """The same for a content in parts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_unfinished(path: Path) -> None:
    """What a process left that was killed while it wrote `path`; nobody may be writing it."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def made_once(folder: Path) -> Iterator[None]:
    """Other processes that want to make something in this folder wait meanwhile. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:  # closing it lets the next one in, and so does any death
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class WriteBehind:
    """One write at a time, on a thread of its own. Not to be asked by several threads."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    @property
    def busy(self) -> bool:
        """Whether a write is under way."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, write: Callable[[], None]) -> None:
        """Once the one before is over; raises what `wait` raises."""
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(write,), name="write-behind")
        self._thread.start()

    def wait(self) -> None:
        """Until no write is under way. Raises, once, what went wrong in the last one."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself last; folders cannot be opened on Windows."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
