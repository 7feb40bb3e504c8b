"""What lies in a blob store: bytes that only this installation can read, under keys that give nothing away.

A file is `LKB1`, a nonce, and AES-256-GCM over the bytes with the key as associated data, so that a file
moved to another key does not open.
"""

import re
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bot.errors import ServiceUnavailable

_MAGIC = b"LKB1"
_NONCE_BYTES = 12
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


class Seal:
    """Closes and opens files with one secret. Threads may share it."""

    def __init__(self, secret: bytes) -> None:
        derived = HKDF(SHA256(), length=32, salt=None, info=b"likeness blobs v1").derive(secret)
        self._cipher = AESGCM(derived)

    def close(self, key: str, data: bytes) -> bytes:
        """What to store under that key."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _MAGIC + nonce + self._cipher.encrypt(nonce, data, key.encode())

    def open(self, key: str, sealed: bytes) -> bytes:
        """The bytes again. Raises ServiceUnavailable where they were closed with another secret or key."""
        nonce, body = sealed[len(_MAGIC) : len(_MAGIC) + _NONCE_BYTES], sealed[len(_MAGIC) + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, body, key.encode())
        except (InvalidTag, ValueError) as error:
            remedy = f"{key} is damaged or was written with another key: restore LIKENESS_KEY or data_dir/key"
            raise ServiceUnavailable("The blob store", remedy) from error


def is_key(key: str) -> bool:
    """Whether this is a path of plain words, which leads nowhere else."""
    return all(_PART.fullmatch(part) for part in key.split("/"))


def confirm_key(key: str) -> str:
    """The key. Raises ValueError where it is none."""
    if not is_key(key):
        raise ValueError(f"not a blob key: {key!r}")
    return key
