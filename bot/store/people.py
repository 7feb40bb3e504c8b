"""Queries of people and of what happened to them: state, inbox, consent."""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import bindparam, insert, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import Session, col, delete, select

from bot.conversation.types import Person, State
from bot.jobs import WorkEvent, pack_event
from bot.store.database import lock
from bot.store.models import ConsentRow, InboxRow, PersonRow, SecretRow

STATES: TypeAdapter[State] = TypeAdapter(State)
# Made once: making a statement costs more than running it.
_ROW = update(InboxRow).where(col(InboxRow.id) == bindparam("row_id"))
_HANDLED = _ROW.where(col(InboxRow.handled_at).is_(None)).values(
    handled_at=bindparam("now"), person_id=bindparam("person")
)
_EMPTY = _ROW.values(payload={}, person_id="")
_STATE = select(PersonRow.state).where(PersonRow.id == bindparam("person"))
_REMEMBER = (
    update(PersonRow)
    .where(col(PersonRow.id) == bindparam("person"))
    .values(state=bindparam("new_state"), seen_at=bindparam("now"))
)
_MEET = insert(PersonRow)


def person_id_of(person: Person) -> str:
    """The id under which everything about a chat account is stored."""
    return f"{person.platform}:{person.user_id}"


def load_state(session: Session, *, person_id: str) -> State | None:
    """What the conversation remembers of a person."""
    known = session.connection().execute(_STATE, {"person": person_id}).scalar_one_or_none()
    return None if known is None else STATES.validate_python(known)


def save_state(session: Session, *, person: Person, state: State, now: float) -> None:
    """Remember; the first time makes the person."""
    connection, memory = session.connection(), STATES.dump_python(state, mode="json")
    known = {"person": state.person_id, "new_state": memory, "now": now}
    if connection.execute(_REMEMBER, known).rowcount:
        return
    who = {"id": state.person_id, "platform": person.platform, "user_id": person.user_id}
    connection.execute(_MEET, {**who, "state": memory, "created_at": now, "seen_at": now})


def folder(session: Session, *, person_id: str) -> str:
    """The folder of a person's blobs, with a slash at its end.

    Its name gives nothing away, and somebody who comes back after a deletion gets another one: a deletion
    that is carried out late cannot meet new files.
    """
    row = session.get(PersonRow, person_id)
    name = _hash(session, f"{person_id} {row.created_at if row else 0.0!r}")
    return f"persons/{name[:32]}/"


def arrive(
    session: Session, *, platform: str, updates: Sequence[tuple[str, dict[str, Any]]], now: float
) -> None:
    """Store updates (key and payload), in order, but for those that are there already."""
    dialect = session.get_bind().dialect.name
    insert = sqlite_insert(InboxRow) if dialect == "sqlite" else postgres_insert(InboxRow)
    common = {"platform": platform, "source": "platform", "received_at": now}
    known: dict[str, Any] = {"person_id": "", "attempts": 0, "error": ""}
    rows = [{"key": key, "payload": payload, **common, **known} for key, payload in updates]
    if rows:
        session.connection().execute(insert.on_conflict_do_nothing(), rows)


def handled(session: Session, *, id: int | None, now: float, person_id: str) -> bool:
    """Mark an inbox row as handled, and whom it is about; False if it was already, or is gone.

    Locks it until the commit.
    """
    values = {"row_id": id, "now": now, "person": person_id}
    return session.connection().execute(_HANDLED, values).rowcount == 1


def empty(session: Session, *, id: int | None) -> None:
    """Forget what an inbox row said, and of whom."""
    session.connection().execute(_EMPTY, {"row_id": id})


def report(session: Session, *, person_id: str, key: str, event: WorkEvent, now: float) -> None:
    """Tell the conversation about a piece of work, once for each key."""
    person = session.get(PersonRow, person_id)
    if person is None or session.exec(select(InboxRow.id).where(InboxRow.key == key)).first():
        return
    session.add(
        InboxRow(
            platform=person.platform,
            key=key,
            source="work",
            person_id=person_id,
            payload=pack_event(event),
            received_at=now,
        )
    )


def report_progress(
    session: Session, *, person_id: str, subject_id: str, event: WorkEvent | None, now: float
) -> None:
    """Like `report`, but only the newest counts: what was said before about this subject is dropped."""
    prefix = f"progress:{subject_id}:"
    session.exec(
        delete(InboxRow).where(
            col(InboxRow.person_id) == person_id, col(InboxRow.key).startswith(prefix, autoescape=True)
        )
    )
    if event is not None:
        report(session, person_id=person_id, key=f"{prefix}{secrets.token_hex(6)}", event=event, now=now)


def unhandled(session: Session, *, platforms: Collection[str], limit: int) -> Sequence[InboxRow]:
    """What waits to be handled, in the order of its arrival."""
    query = (
        select(InboxRow)
        .where(col(InboxRow.platform).in_(platforms), col(InboxRow.handled_at).is_(None))
        .order_by(col(InboxRow.id))
        .limit(limit)
    )
    return session.exec(query).all()


def record_consent(session: Session, *, person_id: str, version: int | None, now: float) -> None:
    """One line of the audit log, which outlives the person's data and names nobody."""
    session.add(ConsentRow(person_hash=consent_hash(session, person_id=person_id), version=version, at=now))


def consent_hash(session: Session, *, person_id: str) -> str:
    """The name of a person in the audit log."""
    return _hash(session, person_id)


def _hash(session: Session, text: str) -> str:
    return hashlib.sha256(_salt(session) + text.encode()).hexdigest()


def _salt(session: Session) -> bytes:
    row = session.get(SecretRow, "salt")
    if row is None:
        lock(session, "salt")
        row = session.get(SecretRow, "salt", populate_existing=True)
        if row is None:
            row = SecretRow(name="salt", value=secrets.token_bytes(32))
            session.add(row)
            session.flush()
    return row.value
