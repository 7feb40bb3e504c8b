"""The inbox: whatever happens to a person is stored first, then handled once, in order.

One row is one transaction: load the person's state, ask the conversation, apply its effects, save, mark as
handled. A row that cannot be handled is tried again, then set aside with an apology; it holds nobody else up.
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from sqlmodel import Session

from bot.conversation.machine import advance, new_state
from bot.conversation.types import (
    Blocked,
    ForgetPerson,
    Incoming,
    Place,
    Rules,
    Say,
    ShootFailed,
    ShootFinished,
)
from bot.errors import ServiceUnavailable
from bot.jobs import unpack_event
from bot.platforms.base import Accept, Platform, RawUpdate
from bot.queueing import WakeUps
from bot.store import deletion, effects, outbox, people
from bot.store.blobs import BlobStore
from bot.store.database import Database
from bot.store.models import InboxRow, ShootRow
from bot.styles import Catalogue

log = logging.getLogger(__name__)

ATTEMPTS_MAX = 3
ROUND_MAX = 200  # rows looked at together
POLL_SECONDS = 0.2  # for rows that a worker wrote
OUTAGE_SECONDS = 1.0  # pause while the database does not answer


class Inbox:
    """Handles what arrives on these platforms. One process a platform."""

    def __init__(
        self,
        database: Database,
        platforms: Mapping[str, Platform],
        wake: WakeUps,
        rules: Rules,
        styles: Catalogue,
        blobs: BlobStore,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._platforms, self._wake = database, platforms, wake
        self._rules, self._styles, self._blobs, self._clock = rules, styles, blobs, clock

    def accept_for(self, platform: str) -> Accept:
        """What a platform calls with each update, or with several that came together: kept when it returns.

        It waits while the database does not answer, so that the platform keeps the update and its order.
        """

        async def accept(*updates: RawUpdate) -> None:
            arrived = [(update.key, update.payload) for update in updates]
            while True:
                with contextlib.suppress(ServiceUnavailable):
                    return await self._database.run(
                        lambda session: people.arrive(
                            session,
                            platform=platform,
                            updates=arrived,
                            now=self._clock(),
                        )
                    )
                log.error("an update waits for the database", extra={"platform": platform})
                await asyncio.sleep(OUTAGE_SECONDS)

        return accept

    async def run(self) -> None:
        """Handle what there is and what comes, until cancelled."""
        seen = -1
        while True:
            try:
                if not await self.drain():
                    seen = await self._database.changed(seen, POLL_SECONDS)
            except ServiceUnavailable as error:
                log.error("the inbox waits: %s", error)
                await asyncio.sleep(OUTAGE_SECONDS)

    async def drain(self) -> int:
        """Handle the rows that wait, one person's in order, many people's together; how many there were."""
        rows = await self._database.read(
            lambda session: people.unhandled(session, platforms=self._platforms, limit=ROUND_MAX)
        )
        lines: dict[str, list[tuple[InboxRow, Incoming | None]]] = defaultdict(list)
        for row in rows:
            try:
                incoming = None if row.source == "work" else self._translate(row)
            except Exception:
                log.exception("an update could not be read", extra={"inbox_id": row.id})
                await self._failed(row, None, "translate")
                continue
            person = people.person_id_of(incoming.person) if incoming else row.person_id
            lines[person or f"nobody {row.id}"].append((row, incoming))
        await asyncio.gather(*(self._handle_in_order(line) for line in lines.values()))
        return len(rows)

    def _translate(self, row: InboxRow) -> Incoming | None:
        return self._platforms[row.platform].translate(row.payload)

    async def _handle_in_order(self, line: Sequence[tuple[InboxRow, Incoming | None]]) -> None:
        for row, incoming in line:
            try:
                applied = await self._database.run(partial(self._handle, seen=row, incoming=incoming))
            except ServiceUnavailable:
                raise
            except Exception as error:
                log.exception("an event could not be handled", extra={"inbox_id": row.id})
                if not await self._failed(row, incoming, type(error).__name__):
                    return  # the person's next rows wait until this one is through
                continue
            for wake in applied.wakes:
                await self._wake.wake(wake.kind, wake.job_id)
            if applied.deletions:
                await deletion.carry_out(self._database, self._blobs)

    def _handle(self, session: Session, seen: InboxRow, incoming: Incoming | None) -> effects.Applied:
        """The one transaction of a row."""
        row, now = seen, self._clock()
        person_id = people.person_id_of(incoming.person) if incoming else row.person_id
        if not people.handled(session, id=row.id, now=now, person_id=person_id):
            return effects.Applied()  # by another process, or taken back
        incoming = incoming or self._work_event(session, row)
        if incoming is None:  # nobody needs to know
            people.empty(session, id=row.id)
            return effects.Applied()
        state = people.load_state(session, person_id=person_id) or new_state(person_id, incoming.person)
        state, wanted = advance(state, incoming, now, rules=self._rules, styles=self._styles)
        if any(isinstance(effect, ForgetPerson) for effect in wanted):
            people.empty(session, id=row.id)
        else:
            people.save_state(session, person=incoming.person, state=state, now=now)
            if row.source == "platform" and not isinstance(incoming.event, Blocked):
                outbox.unpark(session, person_id=person_id)
        session.flush()
        moment = effects.Moment(person_id, incoming, f"in:{row.id}", now)
        return effects.apply(session, moment, wanted)

    def _work_event(self, session: Session, row: InboxRow) -> Incoming | None:
        """A result of the engine as an event of the person whom it is about; None if they are gone."""
        state = people.load_state(session, person_id=row.person_id) if row.source == "work" else None
        if state is None:
            return None
        event, person = unpack_event(row.payload), state.person
        place = state.home or Place(person.platform, person.user_id, private=True)
        if isinstance(event, ShootFinished | ShootFailed):
            shoot = session.get(ShootRow, event.shoot_id)
            place = outbox.PLACES.validate_python(shoot.place) if shoot else place
        return Incoming(person=person, place=place, event=event)

    async def _failed(self, row: InboxRow, incoming: Incoming | None, error: str) -> bool:
        """Count a failure; whether the row was set aside for good."""
        return await self._database.run(lambda session: self._count_failure(session, row, incoming, error))

    def _count_failure(self, session: Session, seen: InboxRow, incoming: Incoming | None, error: str) -> bool:
        row, now = session.get(InboxRow, seen.id), self._clock()
        if row is None or row.handled_at is not None:
            return True
        row.attempts, row.error = row.attempts + 1, error
        session.add(row)
        if row.attempts < ATTEMPTS_MAX:
            return False
        row.handled_at = now
        log.error("an event was set aside", extra={"inbox_id": row.id, "platform": row.platform})
        with contextlib.suppress(ValueError):  # what cannot even be read cannot be answered
            incoming = incoming or self._work_event(session, row)
        if incoming is not None:
            person_id = people.person_id_of(incoming.person)
            moment = effects.Moment(person_id, incoming, f"in:{row.id}", now)
            effects.apply(session, moment, [Say(incoming.place, "sorry", whisper=incoming.can_whisper)])
        return True
