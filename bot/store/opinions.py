"""What people said of their headshots: written down, and found again for the next shoot."""

from collections.abc import Mapping, Sequence

from sqlmodel import Session, col, select

from bot import jobs
from bot.store.models import HeadshotRow, OpinionRow, ShootRow
from bot.store.work import Claim

REMEMBERED = 20  # of each kind, the newest


def record(session: Session, *, person_id: str, headshot_id: str, liked: bool, now: float) -> None:
    """The last word on a headshot counts. What the engine measured in it moves here, since it outlives it."""
    row = session.get(OpinionRow, headshot_id)
    headshot = session.get(HeadshotRow, headshot_id)
    if row is not None and row.person_id == person_id:
        row.liked, row.created_at = liked, now
    elif row is None and headshot is not None and headshot.person_id == person_id:
        shoot = session.get_one(ShootRow, headshot.shoot_id)
        row = OpinionRow(
            id=headshot_id,
            person_id=person_id,
            adapter_id=shoot.adapter_id,
            liked=liked,
            facts_blob=headshot.facts_blob,
            created_at=now,
        )
        headshot.facts_blob = ""
        session.add(headshot)
    if row is not None:
        session.add(row)


def of_adapter(session: Session, *, adapter_id: str, liked: bool) -> tuple[str, ...]:
    """Ids of the newest, the oldest of them first."""
    query = (
        select(OpinionRow.id)
        .where(OpinionRow.adapter_id == adapter_id, OpinionRow.liked == liked)
        .order_by(col(OpinionRow.created_at).desc(), col(OpinionRow.id))
        .limit(REMEMBERED)
    )
    return tuple(reversed(session.exec(query).all()))


def of_shoot(session: Session, *, claim: Claim) -> Mapping[str, str]:
    """The blobs of the facts of a shoot's opinions, by headshot."""
    assert isinstance(claim.payload, jobs.MakeHeadshots)
    wanted: Sequence[str] = (*claim.payload.liked, *claim.payload.disliked)
    query = select(OpinionRow.id, OpinionRow.facts_blob).where(
        OpinionRow.person_id == claim.person_id, col(OpinionRow.id).in_(wanted)
    )
    return {id: blob for id, blob in session.exec(query).all() if blob}
