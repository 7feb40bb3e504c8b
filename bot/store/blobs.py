"""Where files lie, encrypted: photos, face templates, adapters, headshots. In a folder, or in a bucket
(`bot.store.s3`).

A key is a path of plain words (`persons/<folder>/photos/<id>`); `bot.store.sealing` says what a file is.
"""

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from bot.config import Settings
from bot.errors import BlobMissing, ConfigError, ServiceUnavailable
from bot.store.sealing import Seal, confirm_key

SECRET_BYTES_MIN = 16


class BlobStore(Protocol):
    """Where files live. Every method may block on a disk or a network, and raise ServiceUnavailable."""

    def put(self, key: str, data: bytes) -> None:
        """Store durably under `key`; an older file there is replaced in one step."""

    def get(self, key: str) -> bytes:
        """The bytes. Raises BlobMissing, ServiceUnavailable where they were written with another secret."""

    def delete(self, key: str) -> None:
        """Delete; nothing happens where there is nothing."""

    def delete_prefix(self, prefix: str) -> None:
        """Delete every key that begins with `prefix`, which ends with a slash."""

    def exists(self, key: str) -> bool:
        """Whether there is a file."""

    def keys(self, older_than: float) -> Iterator[str]:
        """Every key that was last written before that time (seconds since the epoch)."""


class FolderBlobs:
    """`BlobStore` in a folder of this machine (or one that all hosts mount)."""

    def __init__(self, folder: Path, seal: Seal) -> None:
        self._folder, self._seal = folder, seal

    def put(self, key: str, data: bytes) -> None:
        """See `BlobStore`."""
        target, sealed = self._path(key), self._seal.close(key, data)
        while True:
            try:
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                return _write_durably(target, sealed)
            except FileNotFoundError:  # a deletion just removed the empty folder
                continue
            except FileExistsError:  # the same between mkdir's attempt and its look at what is in the way
                if target.parent.is_file():
                    raise

    def get(self, key: str) -> bytes:
        """See `BlobStore`."""
        try:
            sealed = self._path(key).read_bytes()
        except FileNotFoundError:
            raise BlobMissing(key) from None
        return self._seal.open(key, sealed)

    def delete(self, key: str) -> None:
        """See `BlobStore`."""
        path = self._path(key)
        path.unlink(missing_ok=True)
        self._prune(path.parent)

    def delete_prefix(self, prefix: str) -> None:
        """See `BlobStore`."""
        folder = self._path(prefix.removesuffix("/"))
        for path, folders, files in os.walk(folder, topdown=False):
            for name in files:
                (Path(path) / name).unlink(missing_ok=True)
            for name in folders:
                with contextlib.suppress(OSError):
                    (Path(path) / name).rmdir()
        self._prune(folder)

    def exists(self, key: str) -> bool:
        """See `BlobStore`."""
        return self._path(key).is_file()

    def keys(self, older_than: float) -> Iterator[str]:
        """See `BlobStore`. Half-written files of a killed process count too."""
        for path, _, files in os.walk(self._folder):
            for name in files:
                file = Path(path) / name
                with contextlib.suppress(FileNotFoundError):
                    if file.stat().st_mtime < older_than:
                        yield file.relative_to(self._folder).as_posix()

    def _path(self, key: str) -> Path:
        return self._folder / confirm_key(key)

    def _prune(self, folder: Path) -> None:
        with contextlib.suppress(OSError):  # not empty, or gone already
            while folder != self._folder:
                folder.rmdir()
                folder = folder.parent


def open_blobs(settings: Settings) -> BlobStore:
    """The store that is configured. May block on a network.

    Raises OperatorError where it cannot be used: no secret, a missing library, a bucket out of reach.
    """
    seal = Seal(installation_secret(settings))
    if not settings.store.blob_url:
        return FolderBlobs(settings.blob_dir, seal)
    if not settings.secret("LIKENESS_KEY"):  # each host would make a key of its own
        problem = "it is not set, and a bucket needs it"
        raise ConfigError(
            "LIKENESS_KEY", problem, "Put the same one, long and random, into .env on every host"
        )
    from bot.store.s3 import S3Blobs  # only where it is asked for: its library is an extra

    blobs = S3Blobs(settings, seal)
    blobs.check()
    return blobs


def installation_secret(settings: Settings) -> bytes:
    """The secret behind every blob: LIKENESS_KEY, else the file `key` in the data folder, made once.

    Raises ConfigError where it is too short, ServiceUnavailable where the file cannot be read or made.
    """
    if chosen := settings.secret("LIKENESS_KEY"):
        if len(chosen) < SECRET_BYTES_MIN:
            problem = f"it is shorter than {SECRET_BYTES_MIN} characters"
            raise ConfigError(
                "LIKENESS_KEY", problem, "Take a long random one, e.g. from `openssl rand -hex 32`"
            )
        return chosen.encode()
    path = settings.bot.data_dir / "key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write_once(path, secrets.token_hex(32).encode())
        secret = path.read_bytes().strip()
    except OSError as error:
        raise ServiceUnavailable(f"The key file {path}", f"Make it readable ({error.strerror})") from error
    if len(secret) < SECRET_BYTES_MIN:
        raise ConfigError(str(path), "the key file is damaged", "Restore it from a backup")
    return secret


def _write_durably(target: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix="tmp-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _write_once(target: Path, data: bytes) -> None:
    """Like `_write_durably`, but of several processes the first one wins."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix="tmp-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, target)
    finally:
        Path(name).unlink(missing_ok=True)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
