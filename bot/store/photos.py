"""Queries of selfies on their way from a platform to a verdict."""

from collections.abc import Collection, Sequence

from sqlmodel import Session, col, select

from bot import jobs
from bot.conversation.types import SelfieLost
from bot.store import people, work
from bot.store.models import PhotoRow


def blob_name(id: str) -> str:
    """An id as the last word of a blob key."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in id)


def to_fetch(session: Session, *, platforms: Collection[str], now: float, limit: int) -> Sequence[PhotoRow]:
    """Photos that may be fetched now, oldest first."""
    query = (
        select(PhotoRow)
        .where(
            PhotoRow.status == "fetching",
            col(PhotoRow.platform).in_(platforms),
            col(PhotoRow.not_before) <= now,
        )
        .order_by(col(PhotoRow.created_at), col(PhotoRow.number))
        .limit(limit)
    )
    return session.exec(query).all()


def fetched(session: Session, *, photo: PhotoRow, blob: str, now: float) -> work.Wake | None:
    """The bytes are stored: have them checked. None where nobody waits for them any more."""
    row = session.get(PhotoRow, photo.id, with_for_update=True)
    if row is None or row.status != "fetching" or row.created_at != photo.created_at:
        return None
    row.status, row.blob = "checking", blob
    session.add(row)
    return work.add_job(
        session,
        person_id=row.person_id,
        subject_id=row.id,
        payload=jobs.CheckSelfie(selfie_id=row.id),
        now=now,
    )


def fetch_later(session: Session, *, id: str, not_before: float) -> None:
    """Try again from `not_before` on."""
    row = session.get(PhotoRow, id)
    if row is not None and row.status == "fetching":
        row.fetch_attempts, row.not_before = row.fetch_attempts + 1, not_before
        session.add(row)


def lost(session: Session, *, event: SelfieLost, now: float) -> None:
    """There is no way to get the photo."""
    row = session.get(PhotoRow, event.selfie_id)
    if row is not None and row.status in ("fetching", "checking"):
        row.status = "lost"
        session.add(row)
        key = f"lost:{row.id}"
        people.report(session, person_id=row.person_id, key=key, event=event, now=now)
