"""Everything that is stored about a person, as ZIP files that their chat can carry.

Made when it is sent, so that it holds what is true then. A file that is larger than a message may be comes in
numbered pieces.
"""

import asyncio
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select

from bot.errors import BlobMissing
from bot.store import outbox, people
from bot.store.blobs import BlobStore
from bot.store.database import Database
from bot.store.models import (
    AdapterRow,
    ConsentRow,
    HeadshotRow,
    InboxRow,
    JobRow,
    OpinionRow,
    OutboxRow,
    PersonRow,
    PhotoRow,
    ShootRow,
)

PART_BYTES_MAX = 16 << 20  # held in memory while it is made
_OVERHEAD_BYTES = 64 << 10  # of a ZIP's own tables
_TABLES = (PhotoRow, AdapterRow, ShootRow, HeadshotRow, OpinionRow, JobRow, InboxRow, OutboxRow)
_PIECES = "A file in pieces (name.001, name.002, ...) is put together with: cat name.* > name\n"


@dataclass(frozen=True)
class _Contents:
    folder: str  # of the person's blobs
    record: dict[str, Any]
    files: dict[str, str]  # name in the ZIP -> blob key


class Export:
    """Makes the ZIP files behind a `file` item of the outbox."""

    def __init__(self, database: Database, blobs: BlobStore, clock: Callable[[], float] = time.time) -> None:
        self._database, self._blobs, self._clock = database, blobs, clock

    async def make(self, row: OutboxRow, file_max_bytes: int) -> None:
        """Make the files and turn the item into one item for each. Made again, it replaces what was made."""
        contents = await self._database.read(lambda session: _contents(session, row.person_id))
        part_bytes = min(PART_BYTES_MAX, file_max_bytes) - _OVERHEAD_BYTES
        keys = await asyncio.to_thread(self._store, contents, row, part_bytes)
        stem, _, suffix = row.names[0].rpartition(".")
        names = (
            [f"{stem}.{suffix}"] if len(keys) == 1 else [f"{stem}-{n + 1}.{suffix}" for n in range(len(keys))]
        )
        await self._database.run(
            lambda session: outbox.split_file(session, id=row.id, blobs=keys, names=names)
        )

    def _store(self, contents: _Contents, row: OutboxRow, part_bytes: int) -> list[str]:
        keys = []
        for number, data in enumerate(_zips(self._pieces(contents, part_bytes), part_bytes)):
            keys.append(f"{contents.folder}exports/{row.id}-{number}.zip")
            self._blobs.put(keys[-1], data)
        return keys

    def _pieces(self, contents: _Contents, part_bytes: int) -> Iterator[tuple[str, bytes]]:
        record = json.dumps(contents.record, indent=2, ensure_ascii=False, default=str).encode()
        yield from _cut("likeness.json", record, part_bytes)
        for name, key in contents.files.items():
            try:
                data = self._blobs.get(key)
            except BlobMissing:  # deleted since by its age
                continue
            yield from _cut(name, data, part_bytes)


def _contents(session: Session, person_id: str) -> _Contents:
    person = session.get(PersonRow, person_id)
    record: dict[str, Any] = {"person": person.model_dump() if person else None}
    for table in _TABLES:
        rows = session.exec(select(table).where(col(table.person_id) == person_id)).all()
        record[table.__tablename__] = [row.model_dump() for row in rows]
    hash_ = people.consent_hash(session, person_id=person_id)
    consents = session.exec(select(ConsentRow).where(ConsentRow.person_hash == hash_)).all()
    record["consent"] = [row.model_dump(exclude={"person_hash"}) for row in consents]
    folder = people.folder(session, person_id=person_id)
    return _Contents(folder, record, _files(record))


def _files(record: dict[str, Any]) -> dict[str, str]:
    files = {}
    for photo in record["photo"]:
        files[f"selfies/{photo['number']:02}.jpg"] = photo["clean_blob"] or photo["blob"]
        files[f"face-templates/{photo['number']:02}.json"] = photo["facts_blob"]
    for adapter in record["adapter"]:
        files[f"adapters/{adapter['id'].replace(':', '-')}.safetensors"] = adapter["blob"]
    for headshot in record["headshot"]:
        name = headshot["id"].replace(":", "-")
        files[f"headshots/{name}.{headshot['blob'].rsplit('.', 1)[-1]}"] = headshot["blob"]
        files[f"face-templates/headshot-{name}.json"] = headshot["facts_blob"]
    for opinion in record["opinion"]:
        files[f"face-templates/headshot-{opinion['id'].replace(':', '-')}.json"] = opinion["facts_blob"]
    return {name: key for name, key in files.items() if key}


def _cut(name: str, data: bytes, part_bytes: int) -> Iterator[tuple[str, bytes]]:
    if len(data) <= part_bytes:
        yield name, data
        return
    for number, start in enumerate(range(0, len(data), part_bytes), start=1):
        yield f"{name}.{number:03}", data[start : start + part_bytes]


def _zips(pieces: Iterable[tuple[str, bytes]], part_bytes: int) -> Iterator[bytes]:
    """Files packed into as few ZIPs as their order allows. Photos would not get smaller by compression."""
    part: list[tuple[str, bytes]] = []
    for name, data in pieces:
        if part and sum(len(each) for _, each in part) + len(data) > part_bytes:
            yield _zip(part)
            part = []
        part.append((name, data))
    yield _zip(part)


def _zip(part: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        pieces = False
        for name, data in part:
            archive.writestr(name, data)
            pieces = pieces or (name[-4:-3] == "." and name[-3:].isdigit())
        if pieces:
            archive.writestr("READ-ME.txt", _PIECES)
    return buffer.getvalue()
