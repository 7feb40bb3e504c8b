"""The outbox loop: every promised item goes out once, in the order of its chat, within the platform's limits.

Each chat is a line of its own: whoever blocked the bot or is throttled holds up nobody else. What became of
an attempt is written down before the chat's next item is looked at.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from sqlmodel import Session

from bot.conversation.types import Place
from bot.errors import (
    BlobMissing,
    SendError,
    SendImpossible,
    SendLater,
    SendRefused,
    ServiceUnavailable,
)
from bot.export import Export
from bot.platforms.base import Attachment, Outgoing, Platform, Receipt
from bot.rates import Rates
from bot.store import outbox
from bot.store.blobs import BlobStore
from bot.store.database import Database
from bot.store.models import OutboxRow

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
OUTAGE_SECONDS = 1.0
ROUND_SECONDS = 0.02  # between two looks: one for all that is promised meanwhile
WAITING_MAX = 2000  # items of a platform looked at in one round
FAULTS_MAX = 5  # attempts at an item that raises what no platform should
LATER_SECONDS_MAX = 60.0  # longest pause after a network fault, however many there were
LEAVE_SECONDS = 5.0  # for what is on its way when this process stops
CARD_FRESH_SECONDS = 1800.0  # an older card has scrolled away: its news is a message of its own
Chat = tuple[str, str, str]  # platform, chat, and who alone sees what is whispered there


class Delivery:
    """Sends what the outbox holds for these platforms. One process a platform."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        platforms: Mapping[str, Platform],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._blobs, self._platforms, self._clock = database, blobs, platforms, clock
        self._export = Export(database, blobs, clock)
        self._rates = {name: Rates(platform.capabilities) for name, platform in platforms.items()}
        self._busy: dict[Chat, asyncio.Task[int]] = {}
        self._trying: set[int | None] = set()  # ids of the items that are being sent

    async def run(self) -> None:
        """Send what there is and what comes, until cancelled."""
        seen = -1
        try:
            while True:
                try:
                    pause = await self._begin_round()
                    await asyncio.sleep(ROUND_SECONDS)
                    seen = await self._database.changed(seen, pause)
                except ServiceUnavailable as error:
                    log.error("delivery waits: %s", error)
                    await asyncio.sleep(OUTAGE_SECONDS)
        finally:
            await self._leave()

    async def drain(self, limit: int = WAITING_MAX) -> int:
        """One round, for tests: begin what may go out now, wait for it; how many items went out."""
        await self._begin_round(limit)
        return sum(await asyncio.gather(*self._busy.values()))

    async def _begin_round(self, limit: int = WAITING_MAX) -> float:
        """Start sending the first item of every free chat; how long nothing can change by itself."""
        trying = frozenset(self._trying)
        rows = await self._database.read(lambda session: self._waiting(session, trying, limit))
        now, pauses = self._clock(), [POLL_SECONDS]
        chats: dict[Chat, list[OutboxRow]] = defaultdict(list)
        for row in rows:
            chats[row.platform, row.place["chat_id"], row.user_id if row.whisper else ""].append(row)
        for chat, line in chats.items():
            items = [] if chat in self._busy else self._first(line, now)
            if not items:
                continue
            rates, place = self._rates[chat[0]], _place(items[0])
            if wait := max(rates.wait_seconds(now), rates.chat_wait_seconds(place, now)):
                pauses.append(wait)
                continue
            rates.take(place, len(items))
            self._start(chat, items)
        return max(0.005, min(pauses))

    def _waiting(self, session: Session, but: Collection[int | None], limit: int) -> list[OutboxRow]:
        """Each platform for itself: what piles up for one that is away hides nothing of another."""
        return [
            row
            for platform in self._platforms
            for row in outbox.waiting(session, platform=platform, but=but, limit=limit)
        ]

    def _start(self, chat: Chat, items: list[OutboxRow]) -> None:
        ids = {item.id for item in items}
        self._trying |= ids
        self._busy[chat] = asyncio.create_task(self._send(items))

        def done(_: object) -> None:
            self._trying -= ids
            del self._busy[chat]

        self._busy[chat].add_done_callback(done)

    def _first(self, line: Sequence[OutboxRow], now: float) -> list[OutboxRow]:
        """What is next in a chat: an item, or those of one album. A card that is not due lets others by."""
        platform = self._platforms[line[0].platform]
        for number, row in enumerate(line):
            edits = row.kind == "card" and not _moves(row)
            interval = platform.capabilities.edit_interval_seconds if edits else 0.0
            if max(row.not_before, (row.sent_at or 0.0) + interval) > now:
                if row.kind == "card":
                    continue
                return []
            return list(_album(line[number:], platform.capabilities.album_max))
        return []

    async def _send(self, rows: list[OutboxRow]) -> int:
        """One attempt at an item or an album; how many items went out."""
        ids = [row.id for row in rows]
        try:
            if rows[0].kind == "file" and not rows[0].blobs:
                await self._export.make(
                    rows[0], self._platforms[rows[0].platform].capabilities.file_max_bytes
                )
                return 0
            items = [await self._outgoing(row) for row in rows]
            now = self._clock()
            if not await self._database.run(lambda session: outbox.begin(session, ids=ids, now=now)):
                return 0  # taken back meanwhile
            receipts = await self._platforms[rows[0].platform].send(items)
        except ServiceUnavailable as error:
            log.error("an item waits: %s", error, extra=_facts(rows[0]))
            await asyncio.sleep(OUTAGE_SECONDS)
        except BlobMissing as error:
            await self._impossible(rows, str(error))
        except SendError as error:
            await self._unsent(rows, error)
        except Exception as error:
            log.exception("an item could not be sent", extra=_facts(rows[0]))
            await self._fault(rows, type(error).__name__)
        else:
            await self._sent(rows, receipts)
            return len(rows)
        return 0

    async def _outgoing(self, row: OutboxRow) -> Outgoing:
        data = [await asyncio.to_thread(self._blobs.get, key) for key in row.blobs]
        names = zip(row.names, data, strict=True)
        old = row.message if row.kind == "card" else ""
        fresh = (row.sent_at or 0.0) > self._clock() - CARD_FRESH_SECONDS
        editable = fresh and not _moves(row) and self._platforms[row.platform].capabilities.can_edit
        return Outgoing(
            nonce=f"{row.id}-{row.version}-{int(row.created_at) % 10**8}",
            user_id=row.user_id,
            place=_place(row),
            text=row.text,
            buttons=outbox.BUTTONS.validate_python(row.buttons),
            attachments=tuple(Attachment(name, bytes_, row.as_file) for name, bytes_ in names),
            whisper=row.whisper,
            edit=old or None if editable else None,
            replaces="" if editable else old,
            reply=row.reply,
        )

    async def _sent(self, rows: Sequence[OutboxRow], receipts: Sequence[Receipt]) -> None:
        now = self._clock()

        def note(session: Session) -> None:
            for row, receipt in zip(rows, receipts, strict=True):
                outbox.sent(session, id=row.id, version=row.version, message=receipt.message, now=now)

        await self._database.insist(note)
        waited_ms = round((now - rows[0].created_at) * 1000)
        log.debug("sent", extra={**_facts(rows[0]), "items": len(rows), "duration_ms": waited_ms})

    async def _unsent(self, rows: Sequence[OutboxRow], error: SendError) -> None:
        match error:
            case SendLater():
                await self._later(rows, error.after_seconds, error.reason)
            case SendRefused():
                await self._park(rows[0], error.reason)
            case SendImpossible():
                await self._impossible(rows, error.reason)
            case _:
                await self._fault(rows, type(error).__name__)

    async def _later(self, rows: Sequence[OutboxRow], after_seconds: float, reason: str) -> None:
        """Faults in a row wait longer and longer; what the platform asks for is always kept."""
        growing = min(LATER_SECONDS_MAX, 0.5 * 2 ** min(rows[0].attempts, 10))
        ids, not_before = [row.id for row in rows], self._clock() + max(after_seconds, growing)
        await self._database.insist(
            lambda session: outbox.later(session, ids=ids, not_before=not_before, error=reason)
        )
        log.info("sent later", extra={**_facts(rows[0]), "reason": reason})

    async def _park(self, row: OutboxRow, reason: str) -> None:
        values = {
            "person_id": row.person_id,
            "platform": row.platform,
            "chat_id": _place(row).chat_id,
            "error": reason,
        }
        await self._database.insist(lambda session: outbox.park(session, **values))
        log.info("a person is out of reach", extra={**_facts(row), "reason": reason})

    async def _impossible(self, rows: Sequence[OutboxRow], reason: str) -> None:
        """An album goes out item by item, a card as a new message; what is neither is given up."""
        ids = [row.id for row in rows]
        if len(rows) > 1:
            await self._database.insist(lambda session: outbox.send_singly(session, ids=ids))
        elif rows[0].message and rows[0].kind == "card":
            await self._database.insist(lambda session: outbox.send_anew(session, id=ids[0]))
        else:
            await self._database.insist(lambda session: outbox.bury(session, ids=ids, error=reason))
            log.error("an item can never be sent", extra={**_facts(rows[0]), "reason": reason})

    async def _fault(self, rows: Sequence[OutboxRow], reason: str) -> None:
        if rows[0].attempts + 1 >= FAULTS_MAX:
            await self._impossible(rows, reason)
        else:
            await self._later(rows, 0.0, reason)

    async def _leave(self) -> None:
        """Let what is on its way arrive, so that it is not sent again by the next process."""
        if self._busy:
            _, late = await asyncio.wait(self._busy.values(), timeout=LEAVE_SECONDS)
            for task in late:
                task.cancel()


def _album(line: Iterable[OutboxRow], album_max: int) -> Iterator[OutboxRow]:
    """The first item and those right behind it that may share its message."""
    first = None
    for number, row in enumerate(line):
        if first is None:
            first = row
        elif number >= album_max or (row.kind, row.album, row.as_file) != (
            "headshot",
            first.album,
            first.as_file,
        ):
            return
        yield row
        if not row.album:
            return


def _moves(row: OutboxRow) -> bool:
    """A card whose next message goes below what was said since."""
    return row.moved_version > row.sent_version


def _place(row: OutboxRow) -> Place:
    return outbox.PLACES.validate_python(row.place)


def _facts(row: OutboxRow) -> dict[str, object]:
    return {"outbox_id": row.id, "platform": row.platform, "kind": row.kind}
