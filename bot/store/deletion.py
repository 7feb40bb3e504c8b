"""Deleting: rows go in the transaction that decides it, files right after it, and again until they are gone.

A file is named in the table `doomed` by the transaction that drops its row, so that a process killed between
the commit and the deletion leaves nothing behind.
"""

import asyncio
from collections.abc import Collection, Iterable

from sqlmodel import Session, col, delete, select

from bot.store.blobs import BlobStore
from bot.store.database import Database
from bot.store.models import (
    AdapterRow,
    DoomedRow,
    HeadshotRow,
    InboxRow,
    JobRow,
    OpinionRow,
    OutboxRow,
    PersonRow,
    PhotoRow,
    ShootRow,
)
from bot.store.outbox import blobs_in_use
from bot.store.people import folder


def doom(session: Session, keys: Iterable[str]) -> None:
    """These blobs are mentioned nowhere any more."""
    for key in {key for key in keys if key}:
        if session.get(DoomedRow, key) is None:
            session.add(DoomedRow(key=key))
    session.flush()


async def carry_out(database: Database, blobs: BlobStore) -> int:
    """Delete the files of everything that is doomed; how many entries."""
    keys = await database.read(lambda session: list(session.exec(select(DoomedRow.key)).all()))
    if keys:
        await asyncio.to_thread(_delete_files, blobs, keys)
        await database.run(lambda session: _forget_doomed(session, keys))
    return len(keys)


def drop_selfies(session: Session, *, person_id: str, selfie_ids: Collection[str]) -> None:
    """Delete selfies and what was derived from them; a check in flight finds its job gone."""
    query = select(PhotoRow).where(PhotoRow.person_id == person_id, col(PhotoRow.id).in_(selfie_ids))
    for photo in session.exec(query).all():
        doom(session, (photo.blob, photo.clean_blob, photo.facts_blob))
        session.delete(photo)
    _drop_jobs(session, person_id=person_id, kind="check", subjects=selfie_ids)


def drop_adapter(session: Session, *, person_id: str, adapter_id: str) -> None:
    """Delete an adapter and its headshots, except those that are still on their way to the person."""
    adapter = session.get(AdapterRow, adapter_id)
    if adapter is None or adapter.person_id != person_id:
        return
    shoots = session.exec(select(ShootRow.id).where(ShootRow.adapter_id == adapter_id)).all()
    drop_headshots(session, session.exec(select(HeadshotRow).where(col(HeadshotRow.shoot_id).in_(shoots))))
    _drop_jobs(session, person_id=person_id, kind="train", subjects=[adapter_id])
    opinions = session.exec(select(OpinionRow).where(OpinionRow.adapter_id == adapter_id)).all()
    doom(session, [adapter.blob, *(opinion.facts_blob for opinion in opinions)])
    for opinion in opinions:
        session.delete(opinion)
    session.delete(adapter)


def drop_headshots(session: Session, headshots: Iterable[HeadshotRow]) -> int:
    """Delete headshots that no undelivered item needs; how many."""
    needed = blobs_in_use(session)
    dropped = [headshot for headshot in headshots if headshot.blob not in needed]
    doom(session, [key for headshot in dropped for key in (headshot.blob, headshot.facts_blob)])
    for headshot in dropped:
        session.delete(headshot)
    return len(dropped)


def forget(session: Session, *, person_id: str) -> None:
    """Delete everything about a person. Only the audit log of consent stays, which names nobody.

    Work in flight finds its job row gone, stops, and deletes what it had written.
    """
    if session.get(PersonRow, person_id) is not None:
        doom(session, [folder(session, person_id=person_id)])
    for table in (PhotoRow, AdapterRow, ShootRow, HeadshotRow, OpinionRow, JobRow, InboxRow, OutboxRow):
        session.exec(delete(table).where(col(table.person_id) == person_id))
    session.exec(delete(PersonRow).where(col(PersonRow.id) == person_id))
    session.expire_all()


def _drop_jobs(session: Session, *, person_id: str, kind: str, subjects: Collection[str]) -> None:
    session.exec(
        delete(JobRow).where(
            col(JobRow.person_id) == person_id, col(JobRow.kind) == kind, col(JobRow.subject_id).in_(subjects)
        )
    )


def _delete_files(blobs: BlobStore, keys: Collection[str]) -> None:
    for key in keys:
        if key.endswith("/"):
            blobs.delete_prefix(key)
        else:
            blobs.delete(key)


def _forget_doomed(session: Session, keys: Collection[str]) -> None:
    session.exec(delete(DoomedRow).where(col(DoomedRow.key).in_(keys)))
