"""Queries of retention: what is old enough to be deleted. Each says how much it deleted."""

from typing import Any

from sqlalchemy import update
from sqlmodel import Session, and_, col, delete, exists, or_, select

from bot.store import deletion
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

_OPEN = ("queued", "running")


def selfies(session: Session, *, before: float) -> int:
    """Selfies that an adapter learned from which was ready before then, unless a training needs them now."""
    trained = select(AdapterRow).where(AdapterRow.status == "ready", col(AdapterRow.finished_at) < before)
    dropped = 0
    for adapter in session.exec(trained).all():
        still = select(PhotoRow.id).where(
            PhotoRow.person_id == adapter.person_id, col(PhotoRow.created_at) <= adapter.created_at
        )
        ids = session.exec(still).all()
        if ids and not _busy(session, adapter.person_id, "train"):
            deletion.drop_selfies(session, person_id=adapter.person_id, selfie_ids=ids)
            dropped += len(ids)
    return dropped


def adapters(session: Session, *, before: float) -> int:
    """Adapters that made nothing since then, and those that came to nothing."""
    used = exists().where(
        col(ShootRow.adapter_id) == col(AdapterRow.id),
        or_(col(ShootRow.created_at) >= before, col(ShootRow.status) == "running"),
    )
    over = col(AdapterRow.status).in_(("ready", "failed", "cancelled"))
    query = select(AdapterRow).where(over, col(AdapterRow.finished_at) < before, ~used)
    rows = session.exec(query).all()
    for row in rows:
        deletion.drop_adapter(session, person_id=row.person_id, adapter_id=row.id)
    return len(rows)


def headshots(session: Session, *, before: float) -> int:
    """Headshots that were made and, where somebody was to get them, delivered before then."""
    fresh = select(OutboxRow.blobs).where(OutboxRow.kind == "headshot", col(OutboxRow.sent_at) >= before)
    kept = {key for keys in session.exec(fresh) for key in keys}
    old = session.exec(select(HeadshotRow).where(col(HeadshotRow.created_at) < before)).all()
    return deletion.drop_headshots(session, [row for row in old if row.blob not in kept])


def updates(session: Session, *, emptied_before: float, deleted_before: float) -> int:
    """Handled updates: first what they say, later that they were."""
    session.connection().execute(
        update(InboxRow).where(col(InboxRow.handled_at) < emptied_before).values(payload={})
    )
    return _deleted(session, delete(InboxRow).where(col(InboxRow.handled_at) < deleted_before))


def items(session: Session, *, sent_before: float, parked_before: float) -> int:
    """Messages that are out or will never be; at once where the person was deleted."""
    nobody = ~exists().where(col(PersonRow.id) == col(OutboxRow.person_id))
    over = col(OutboxRow.state).in_(("sent", "dead", "withdrawn"))
    old = or_(col(OutboxRow.sent_at) < sent_before, col(OutboxRow.created_at) < sent_before)
    parked = and_(col(OutboxRow.state) == "parked", col(OutboxRow.created_at) < parked_before)
    unreachable = and_(col(OutboxRow.state) == "parked", nobody)
    doomed = or_(and_(over, or_(old, nobody)), parked, unreachable)
    for row in session.exec(select(OutboxRow).where(or_(doomed, over), OutboxRow.kind == "file")).all():
        deletion.doom(session, row.blobs)  # an export is made for one delivery
        row.blobs = []
        session.add(row)
    session.flush()
    return _deleted(session, delete(OutboxRow).where(doomed))


def jobs(session: Session, *, before: float) -> int:
    """Jobs that ended before then, and shoots without headshots."""
    return _deleted(session, delete(JobRow).where(col(JobRow.finished_at) < before))


def blobs_in_use(session: Session) -> set[str]:
    """Every blob key that any row mentions."""
    used: set[str] = set()
    for row in session.exec(select(PhotoRow.blob, PhotoRow.clean_blob, PhotoRow.facts_blob)):
        used.update(row)
    used.update(session.exec(select(AdapterRow.blob)))
    for headshot in session.exec(select(HeadshotRow.blob, HeadshotRow.facts_blob)):
        used.update(headshot)
    used.update(session.exec(select(OpinionRow.facts_blob)))
    used.update(session.exec(select(DoomedRow.key)))
    for keys in session.exec(select(OutboxRow.blobs)):
        used.update(keys)
    return used


def _busy(session: Session, person_id: str, kind: str) -> bool:
    query = select(JobRow.id).where(
        JobRow.person_id == person_id, JobRow.kind == kind, col(JobRow.state).in_(_OPEN)
    )
    return session.exec(query).first() is not None


def _deleted(session: Session, statement: Any) -> int:
    return int(session.connection().execute(statement).rowcount)
