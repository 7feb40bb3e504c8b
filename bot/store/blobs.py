"""Files at rest, encrypted: photos, face templates, adapters, headshots.

A key is a path of plain words (`persons/<folder>/photos/<id>`); a file is `LKB1`, a nonce, and AES-256-GCM
over the bytes with the key as associated data, so that a file moved to another key does not open.
"""

import contextlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bot.config import Settings
from bot.errors import BlobMissing, ConfigError, ServiceUnavailable

SECRET_BYTES_MIN = 16
_MAGIC = b"LKB1"
_NONCE_BYTES = 12
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


class BlobStore(Protocol):
    """Where files live. Every method may block on a disk or a network."""

    def put(self, key: str, data: bytes) -> None:
        """Store durably under `key`; an older file there is replaced in one step."""

    def get(self, key: str) -> bytes:
        """The bytes. Raises BlobMissing."""

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

    def __init__(self, folder: Path, secret: bytes) -> None:
        self._folder = folder
        derived = HKDF(SHA256(), length=32, salt=None, info=b"likeness blobs v1").derive(secret)
        self._cipher = AESGCM(derived)

    def put(self, key: str, data: bytes) -> None:
        """See `BlobStore`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = _MAGIC + nonce + self._cipher.encrypt(nonce, data, key.encode())
        target = self._path(key)
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
        """See `BlobStore`. Raises ServiceUnavailable where the file was written with another key."""
        try:
            sealed = self._path(key).read_bytes()
        except FileNotFoundError:
            raise BlobMissing(key) from None
        nonce, body = sealed[len(_MAGIC) : len(_MAGIC) + _NONCE_BYTES], sealed[len(_MAGIC) + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, body, key.encode())
        except (InvalidTag, ValueError) as error:
            remedy = f"{key} is damaged or was written with another key: restore LIKENESS_KEY or data_dir/key"
            raise ServiceUnavailable("The blob folder", remedy) from error

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
        if not key or not all(_PART.fullmatch(part) for part in key.split("/")):
            raise ValueError(f"not a blob key: {key!r}")
        return self._folder / key

    def _prune(self, folder: Path) -> None:
        with contextlib.suppress(OSError):  # not empty, or gone already
            while folder != self._folder:
                folder.rmdir()
                folder = folder.parent


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
