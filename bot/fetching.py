"""The fetching loop: every photo that a person sent is downloaded, encrypted, and given to be checked."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping

from bot.conversation.types import Rules, SelfieLost
from bot.errors import FetchImpossible, FetchLater, ServiceUnavailable
from bot.platforms.base import Platform
from bot.queueing import WakeUps
from bot.store import people, photos
from bot.store.blobs import BlobStore
from bot.store.database import Database
from bot.store.effects import FILES
from bot.store.models import PhotoRow

log = logging.getLogger(__name__)

TOGETHER_MAX = 8
BYTES_MAX = 32 * 1024 * 1024  # fetched together; each is in memory more than once while it is sealed
UNKNOWN_BYTES = 4 * 1024 * 1024  # of a photo whose platform does not tell
POLL_SECONDS = 0.5
OUTAGE_SECONDS = 1.0
ROUND_SECONDS = 0.1  # between two looks: not every write in between is a photo
RETRY_SECONDS, RETRY_SECONDS_MAX = 1.0, 600.0
GIVE_UP_SECONDS = 24 * 3600.0  # platforms do not keep files for ever


class Fetching:
    """Fetches what people sent on these platforms. One process a platform."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        platforms: Mapping[str, Platform],
        wake: WakeUps,
        rules: Rules,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._blobs, self._platforms = database, blobs, platforms
        self._wake, self._rules, self._clock = wake, rules, clock
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._bytes: dict[str, int] = {}  # of those that are being fetched

    async def run(self) -> None:
        """Fetch what there is and what comes, until cancelled."""
        seen = -1
        try:
            while True:
                try:
                    await self._begin_round()
                    await asyncio.sleep(ROUND_SECONDS)
                    seen = await self._database.changed(seen, POLL_SECONDS)
                except ServiceUnavailable as error:
                    log.error("fetching waits: %s", error)
                    await asyncio.sleep(OUTAGE_SECONDS)
        finally:
            for task in self._busy.values():
                task.cancel()

    async def drain(self) -> int:
        """One round, for tests: fetch what may be fetched now; how many photos were tried."""
        await self._begin_round()
        return len(await asyncio.gather(*self._busy.values()))

    async def _begin_round(self) -> None:
        free = TOGETHER_MAX - len(self._busy)
        if free <= 0:
            return
        now = self._clock()
        rows = await self._database.read(
            lambda session: photos.to_fetch(
                session, platforms=self._platforms, now=now, limit=TOGETHER_MAX + free
            )
        )
        for row in [row for row in rows if row.id not in self._busy][:free]:
            size = FILES.validate_python(row.file).size_bytes or UNKNOWN_BYTES
            if self._busy and sum(self._bytes.values()) + size > BYTES_MAX:
                return  # in the order in which they came: a large one waits, and lets nobody by for ever
            self._begin(row, size)

    def _begin(self, row: PhotoRow, size: int) -> None:
        self._busy[row.id] = asyncio.create_task(self._fetch(row))
        self._bytes[row.id] = size

        def done(_: object) -> None:
            del self._busy[row.id], self._bytes[row.id]

        self._busy[row.id].add_done_callback(done)

    async def _fetch(self, row: PhotoRow) -> None:
        try:
            data = await self._platforms[row.platform].fetch(
                FILES.validate_python(row.file), self._rules.max_photo_bytes
            )
            await self._keep(row, data)
        except FetchImpossible as error:
            await self._lost(row, error.reason)
        except FetchLater as error:
            await self._later(row, error.after_seconds, error.reason)
        except ServiceUnavailable as error:
            log.error("a photo waits: %s", error, extra={"photo_id": row.id})
            await asyncio.sleep(OUTAGE_SECONDS)
        except Exception as error:
            log.exception("a photo could not be fetched", extra={"photo_id": row.id})
            await self._later(row, 0.0, type(error).__name__)

    async def _keep(self, row: PhotoRow, data: bytes) -> None:
        """Store the bytes, then say so; what nobody wants any more is deleted again."""
        folder = await self._database.run(lambda session: people.folder(session, person_id=row.person_id))
        key = f"{folder}photos/{photos.blob_name(row.id)}-{secrets.token_hex(4)}"
        await asyncio.to_thread(self._blobs.put, key, data)
        now = self._clock()
        wake = await self._database.run(lambda session: photos.fetched(session, photo=row, blob=key, now=now))
        if wake is None:
            await asyncio.to_thread(self._blobs.delete, key)
        else:
            await self._wake.wake(wake.kind, wake.job_id)

    async def _later(self, row: PhotoRow, after_seconds: float, reason: str) -> None:
        now = self._clock()
        if now - row.created_at > GIVE_UP_SECONDS:
            await self._lost(row, "gone")
            return
        growing = min(RETRY_SECONDS_MAX, RETRY_SECONDS * 2 ** min(row.fetch_attempts, 20))
        not_before = now + max(after_seconds, growing)
        await self._database.run(
            lambda session: photos.fetch_later(session, id=row.id, not_before=not_before)
        )
        log.info("a photo is fetched later", extra={"photo_id": row.id, "reason": reason})

    async def _lost(self, row: PhotoRow, reason: str) -> None:
        event, now = SelfieLost(row.id, reason), self._clock()
        await self._database.run(lambda session: photos.lost(session, event=event, now=now))
        log.info("a photo is lost", extra={"photo_id": row.id, "reason": reason})
