"""What is kept no longer than it is needed: deleted by age, every few minutes. Run twice, it does no more.

Selfies go some hours after the training that learned from them, headshots some hours after their delivery,
adapters after long idleness; stored updates and messages go once they have served.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

from bot.config import RetentionSettings
from bot.errors import ServiceUnavailable
from bot.store import ageing, deletion
from bot.store.blobs import BlobStore
from bot.store.database import Database

log = logging.getLogger(__name__)

EVERY_SECONDS = 300.0
DAY_SECONDS, HOUR_SECONDS = 86400.0, 3600.0
PAYLOAD_SECONDS = 2 * DAY_SECONDS  # of handled updates; platforms repeat them for a day
ROW_SECONDS = 14 * DAY_SECONDS  # of handled updates, delivered items and finished jobs
PARKED_SECONDS = 90 * DAY_SECONDS  # of items for somebody who never wrote again
ORPHAN_SECONDS = HOUR_SECONDS  # a file that no row mentions may be younger than its row


class Retention:
    """Deletes by age."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        settings: RetentionSettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._blobs, self._settings, self._clock = database, blobs, settings, clock

    async def run(self) -> None:
        """Delete what is old, now and every few minutes, until cancelled."""
        while True:
            try:
                deleted = await self.drain()
                if any(deleted.values()):
                    log.info("deleted by age", extra=deleted)
            except (ServiceUnavailable, OSError) as error:
                log.error("retention waits: %s", error)
            await asyncio.sleep(EVERY_SECONDS)

    async def drain(self) -> dict[str, int]:
        """One round; how many of each were deleted."""
        now, settings, run = self._clock(), self._settings, self._database.run
        return {
            "selfies": await run(partial(ageing.selfies, before=now - settings.selfie_hours * HOUR_SECONDS)),
            "adapters": await run(
                partial(ageing.adapters, before=now - settings.adapter_idle_days * DAY_SECONDS)
            ),
            "headshots": await run(
                partial(ageing.headshots, before=now - settings.headshot_hours * HOUR_SECONDS)
            ),
            "updates": await run(
                partial(
                    ageing.updates, emptied_before=now - PAYLOAD_SECONDS, deleted_before=now - ROW_SECONDS
                )
            ),
            "items": await run(
                partial(ageing.items, sent_before=now - ROW_SECONDS, parked_before=now - PARKED_SECONDS)
            ),
            "jobs": await run(partial(ageing.jobs, before=now - ROW_SECONDS)),
            "files": await deletion.carry_out(self._database, self._blobs) + await self._orphans(now),
        }

    async def _orphans(self, now: float) -> int:
        """Files that no row mentions: a process was killed between writing the one and the other."""
        keys = await asyncio.to_thread(lambda: set(self._blobs.keys(now - ORPHAN_SECONDS)))
        orphans = keys - await self._database.read(ageing.blobs_in_use) if keys else set()
        for key in orphans:
            await asyncio.to_thread(self._blobs.delete, key)
        return len(orphans)
