"""Plain files of a job while it is done: decrypted photos in, results out, in a private folder of its own."""

import asyncio
import json
import logging
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bot.store.blobs import BlobStore
from bot.store.photos import blob_name
from bot.workshop import TryAgain

log = logging.getLogger(__name__)

Facts = dict[str, Any]
IDLE_SECONDS = 3600.0


class Scratch:
    """The folders under `root`, one for each job; a job's survives a crash, so that its training goes on."""

    def __init__(self, root: Path, blobs: BlobStore) -> None:
        self._root, self._blobs = root, blobs

    def folder(self, job_id: str) -> Path:
        """The job's folder, made where it is missing."""
        folder = self._root / blob_name(job_id)
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True, mode=0o700)
        return folder

    def holds(self, job_id: str) -> bool:
        """Whether the job was begun on this machine."""
        return (self._root / blob_name(job_id)).is_dir()

    async def unpack(self, key: str, path: Path) -> str:
        """Decrypt a blob to a file; its path. Raises BlobMissing."""

        def write() -> None:
            data = self._blobs.get(key)
            path.parent.mkdir(exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            path.write_bytes(data)

        await asyncio.to_thread(write)
        return str(path)

    async def facts(self, keys: Mapping[str, str]) -> dict[str, Facts]:
        """The facts behind these keys, under the names given to them. Raises BlobMissing."""
        return await asyncio.to_thread(
            lambda: {name: json.loads(self._blobs.get(key)) for name, key in keys.items() if key}
        )

    async def keep(self, key: str, path: Path | str) -> str:
        """Encrypt a file of the engine into the blob store; the key, empty where there is no such file."""
        file = Path(path)
        if not file.is_file():
            return ""
        await asyncio.to_thread(lambda: self._blobs.put(key, file.read_bytes()))
        return key

    async def keep_made(self, key: str, path: Path | str) -> str:
        """`keep` for what a job promised. Raises TryAgain where it is gone: nobody is told of a picture that
        is not there."""
        kept = await self.keep(key, path)
        if not kept:
            log.error("what was made is not there", extra={"key": key})
            raise TryAgain("engine_failed", failure=True)
        return kept

    async def keep_facts(self, key: str, facts: Facts) -> str:
        """Store what the engine wants back; the key, empty where there is nothing."""
        if not facts:
            return ""
        await asyncio.to_thread(self._blobs.put, key, json.dumps(facts).encode())
        return key

    async def remove(self, job_id: str) -> None:
        """The job is over."""
        await asyncio.to_thread(shutil.rmtree, self._root / blob_name(job_id), ignore_errors=True)

    async def remove_others(self, job_ids: Iterable[str], *, idle_seconds: float = IDLE_SECONDS) -> int:
        """Remove the folders of jobs that are over and that nobody wrote to for a while; how many."""
        return await asyncio.to_thread(self._remove_others, {blob_name(id) for id in job_ids}, idle_seconds)

    def _remove_others(self, wanted: set[str], idle_seconds: float) -> int:
        removed = 0
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            if folder.name not in wanted and time.time() - folder.stat().st_mtime > idle_seconds:
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        return removed
