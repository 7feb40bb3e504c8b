"""Queries of the outbox: what is promised to people and what became of it."""

from collections.abc import Collection, Sequence
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import bindparam, case, update
from sqlmodel import Session, and_, col, select

from bot.conversation.types import Button, Place
from bot.store.models import OutboxRow

PLACES: TypeAdapter[Place] = TypeAdapter(Place)
BUTTONS: TypeAdapter[tuple[tuple[Button, ...], ...]] = TypeAdapter(tuple[tuple[Button, ...], ...])
# Made once: making a statement costs more than running it.
_BEGIN = (
    update(OutboxRow)
    .where(col(OutboxRow.id).in_(bindparam("ids", expanding=True)), col(OutboxRow.state) == "pending")
    .values(attempted_at=bindparam("now"), attempts=OutboxRow.attempts + 1)
)
_OVER = and_(
    col(OutboxRow.version) == bindparam("of_version"), col(OutboxRow.state).in_(("pending", "parked"))
)
_SENT = (
    update(OutboxRow)
    .where(col(OutboxRow.id) == bindparam("row_id"))
    .values(
        state=case((_OVER, "sent"), else_=col(OutboxRow.state)),
        sent_version=bindparam("of_version"),
        sent_at=bindparam("now"),
        message=bindparam("reference"),
        attempts=0,
        not_before=0.0,
        error="",
    )
)
_UNPARK = (
    update(OutboxRow)
    .where(col(OutboxRow.person_id) == bindparam("person"), col(OutboxRow.state) == "parked")
    .values(state="pending", not_before=0.0, attempts=0, error="")
)


def promise(session: Session, row: OutboxRow) -> None:
    """Promise an item. Items are delivered in the order in which they were promised."""
    session.add(row)


def show_card(session: Session, row: OutboxRow, below_after: float | None = None) -> None:
    """Promise the newest content of a card; older content that did not go out yet is forgotten.

    below_after: seconds after which the card goes below what was said since, counted anew with each move;
    None: it stays where it is.
    """
    known = session.exec(select(OutboxRow).where(OutboxRow.key == row.key)).first()
    if known is None:
        return promise(session, row)
    same = (known.text, known.buttons, known.blobs) == (row.text, row.buttons, row.blobs)
    if same and below_after is None and known.state in ("pending", "sent"):
        return None
    known.text, known.buttons, known.blobs, known.names = row.text, row.buttons, row.blobs, row.names
    known.reply, known.whisper = row.reply, row.whisper
    known.version += 1
    moving = known.moved_version > known.sent_version
    if known.state != "parked":
        due = known.not_before if moving else 0.0  # the newer content waits for the move
        known.state, known.attempts, known.not_before, known.error = "pending", 0, due, ""
    if below_after is not None and known.attempted_at is not None:
        known.moved_version = known.version
        # An answer by token is awaited; and photos of a form come all at once.
        known.not_before = 0.0 if row.reply else row.created_at + below_after
    session.add(known)
    return None


def waiting(
    session: Session, *, platform: str, but: Collection[int | None], limit: int
) -> Sequence[OutboxRow]:
    """Items of a platform that are not out yet, but for some, in the order in which they were promised."""
    query = (
        select(OutboxRow)
        .where(
            OutboxRow.platform == platform,
            OutboxRow.state == "pending",
            col(OutboxRow.id).not_in(but),
        )
        .order_by(col(OutboxRow.id))
        .limit(limit)
    )
    return session.exec(query).all()


def begin(session: Session, *, ids: Collection[int | None], now: float) -> bool:
    """Note that these items are tried now; False if one of them was withdrawn meanwhile."""
    return _changed(session, _BEGIN, {"ids": list(ids), "now": now}) == len(ids)


def sent(session: Session, *, id: int | None, version: int, message: str, now: float) -> None:
    """An item is out. A card that got newer content meanwhile stays pending for that."""
    values = {"row_id": id, "of_version": version, "now": now, "reference": message}
    session.connection().execute(_SENT, values)


def later(session: Session, *, ids: Collection[int | None], not_before: float, error: str) -> None:
    """Try these items again from `not_before` on."""
    values = {"not_before": not_before, "error": error}
    session.connection().execute(update(OutboxRow).where(col(OutboxRow.id).in_(ids)).values(**values))


def bury(session: Session, *, ids: Collection[int | None], error: str) -> None:
    """These items can never go out."""
    statement = update(OutboxRow).where(col(OutboxRow.id).in_(ids)).values(state="dead", error=error)
    session.connection().execute(statement)


def send_singly(session: Session, *, ids: Collection[int | None]) -> None:
    """These items are no album any more."""
    session.connection().execute(update(OutboxRow).where(col(OutboxRow.id).in_(ids)).values(album=""))


def send_anew(session: Session, *, id: int | None) -> None:
    """The message of a card cannot be edited: its newest content becomes a new message."""
    session.connection().execute(update(OutboxRow).where(col(OutboxRow.id) == id).values(message=""))


def park(session: Session, *, person_id: str, platform: str, chat_id: str, error: str) -> int:
    """Keep everything for this person in this chat until they write again; how many items."""
    rows = session.exec(
        select(OutboxRow).where(
            OutboxRow.person_id == person_id, OutboxRow.platform == platform, OutboxRow.state == "pending"
        )
    ).all()
    parked = [row for row in rows if row.place["chat_id"] == chat_id]
    for row in parked:
        row.state, row.error = "parked", error
        session.add(row)
    return len(parked)


def unpark(session: Session, *, person_id: str) -> int:
    """The person wrote: what was kept for them goes out; how many items."""
    return _changed(session, _UNPARK, {"person": person_id})


def withdraw_album(session: Session, *, person_id: str, prefix: str) -> None:
    """Take back what is not out yet of the albums whose names begin so."""
    statement = (
        update(OutboxRow)
        .where(
            col(OutboxRow.person_id) == person_id,
            col(OutboxRow.album).startswith(prefix, autoescape=True),
            col(OutboxRow.state).in_(("pending", "parked")),
        )
        .values(state="withdrawn")
    )
    session.connection().execute(statement)


def split_file(session: Session, *, id: int | None, blobs: Sequence[str], names: Sequence[str]) -> None:
    """A file that is made at the time of sending was made: one item for each of its parts."""
    row = session.get(OutboxRow, id)
    if row is None or row.blobs:
        return
    row.blobs, row.names = [blobs[0]], [names[0]]
    session.add(row)
    for number, (blob, name) in enumerate(zip(blobs[1:], names[1:], strict=True), start=2):
        values = row.model_dump(exclude={"id", "key", "blobs", "names", "text"})
        promise(session, OutboxRow(**values, key=f"{row.key}/{number}", blobs=[blob], names=[name]))


def blobs_in_use(session: Session) -> set[str]:
    """Keys of the blobs that an item still needs."""
    open_items = select(OutboxRow.blobs).where(col(OutboxRow.state).in_(("pending", "parked")))
    return {key for keys in session.exec(open_items) for key in keys}


def _changed(session: Session, statement: Any, values: dict[str, Any]) -> int:
    return int(session.connection().execute(statement, values).rowcount)
