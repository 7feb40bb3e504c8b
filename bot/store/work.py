"""Queries of jobs: a row is a job, and who holds its newest attempt may finish it.

A worker claims a row and gets an attempt number; every later word of that worker counts only while the row
still is at that attempt, still runs, and still exists. A person who is forgotten takes the row along.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, and_, col, or_, select

from bot.jobs import PAYLOADS, CheckSelfie, MakeHeadshots, TrainAdapter, job_id
from bot.store.database import lock
from bot.store.models import JobRow

# Both since the job last came further than ever.
ATTEMPTS_MAX = 30  # restarts of workers spend them too, so they are many
FAILURES_MAX = {"check": 3, "shoot": 5, "train": 10}  # an engine's death counts for all that it had in hand


@dataclass(frozen=True)
class Claim:
    """The right to do a job once."""

    id: str
    kind: str
    person_id: str
    payload: CheckSelfie | TrainAdapter | MakeHeadshots
    attempt: int
    furthest_attempt: int
    created_at: float

    @property
    def name(self) -> str:
        """Of the job's files; somebody who comes back after a deletion has the same ids again."""
        return _name(self.id, self.created_at)

    @property
    def request_id(self) -> str:
        """Of what the engine is asked: another attempt is another request."""
        return f"{self.name}/{self.attempt}"

    @property
    def exhausted(self) -> bool:
        """It was begun in vain so often that it seems to end every worker that touches it."""
        return self.attempt - self.furthest_attempt > ATTEMPTS_MAX


@dataclass(frozen=True)
class Wake:
    """A job that somebody should look at."""

    kind: str
    job_id: str


def add_job(
    session: Session,
    *,
    person_id: str,
    subject_id: str,
    payload: CheckSelfie | TrainAdapter | MakeHeadshots,
    now: float,
) -> Wake:
    """Ask for work, once for each subject."""
    id = job_id(payload.kind, subject_id)
    if session.get(JobRow, id) is None:
        session.add(
            JobRow(
                id=id,
                kind=payload.kind,
                person_id=person_id,
                subject_id=subject_id,
                payload=payload.model_dump(mode="json"),
                state="queued",
                woken_at=now,
                created_at=now,
            )
        )
    return Wake(payload.kind, id)


def waiting(session: Session, *, id: str, now: float, stale_seconds: float) -> Claim | None:
    """The job as the last attempt left it, if it may be claimed now."""
    row = session.get(JobRow, id, populate_existing=True)
    return _claim(row) if row is not None and _free(row, now - stale_seconds) else None


def claim(session: Session, *, id: str, worker: str, now: float, stale_seconds: float) -> Claim | None:
    """Take a job that waits, or whose worker gave no sign of life. None if there is nothing to do.

    Checks of one person run one after the other, because each looks at the facts of those before.
    """
    lock(session, f"job {id}")
    row = session.get(JobRow, id, populate_existing=True)
    if row is None or not _free(row, now - stale_seconds):
        return None
    if row.kind == "check" and _another_check(session, row, now - stale_seconds):
        return None
    row.state, row.attempt, row.worker = "running", row.attempt + 1, worker
    row.heartbeat_at = row.woken_at = now
    session.add(row)
    return _claim(row)


def following(session: Session, *, claim: Claim) -> str | None:
    """The id of the job to go on with after this one: the oldest of its kind that waits.

    A check is followed by the same person's, which had to wait for it. Of trainings and shoots those of
    somebody who has none in hand come first.
    """
    query = select(JobRow.id).where(JobRow.kind == claim.kind, JobRow.state == "queued")
    oldest = (col(JobRow.created_at), col(JobRow.id))
    if claim.kind == "check":
        return session.exec(query.where(JobRow.person_id == claim.person_id).order_by(*oldest)).first()
    busy = select(JobRow.person_id).where(JobRow.kind == claim.kind, JobRow.state == "running")
    return session.exec(query.order_by(col(JobRow.person_id).in_(busy), *oldest)).first()


def beat(session: Session, *, claim: Claim, now: float) -> str:
    """A sign of life. Says `go on`, `cancel`, or `lost` where somebody else has the job or it is gone."""
    row = held(session, claim)
    if row is None:
        return "lost"
    row.heartbeat_at = now
    session.add(row)
    return "cancel" if row.cancel_requested else "go on"


def held(session: Session, claim: Claim) -> JobRow | None:
    """The row, if this claim still counts; no other claim can come in between until the transaction ends."""
    lock(session, f"job {claim.id}")
    row = session.get(JobRow, claim.id, populate_existing=True)
    mine = row is not None and (row.attempt, row.created_at) == (claim.attempt, claim.created_at)
    if row is None or row.state != "running" or not mine:
        return None
    return row


def note_progress(session: Session, *, row: JobRow, fraction: float) -> None:
    """How far a job is that is held. Once it is further than ever, what went wrong before counts no more.

    An attempt that goes on from a checkpoint is behind the one before it at first: that is no progress.
    """
    if fraction > row.furthest:
        row.furthest, row.furthest_attempt, row.failures = fraction, row.attempt, 0
        session.add(row)


def is_over(session: Session, *, claim: Claim) -> bool:
    """Whether nobody will ever go on with this job: it ended, or it was deleted."""
    row = session.get(JobRow, claim.id)
    return row is None or row.created_at != claim.created_at or row.state not in ("queued", "running")


def close_job(session: Session, *, row: JobRow, state: str, now: float, reason: str = "") -> None:
    """The end of a job: `done`, `failed` or `cancelled`."""
    row.state, row.reason, row.finished_at, row.worker = state, reason, now, ""
    session.add(row)


def give_back(session: Session, *, claim: Claim, failed: bool, reason: str = "") -> bool:
    """Put a job back into the queue; False where it failed too often: then it is still held."""
    row = held(session, claim)
    if row is None:
        return True
    row.failures += failed
    row.reason = reason
    session.add(row)
    if row.failures >= FAILURES_MAX[row.kind]:
        return False
    row.state, row.worker = "queued", ""
    return True


def cancel(session: Session, *, person_id: str, subject_id: str, now: float) -> None:
    """Stop a person's training or shoot; a worker that has it in hand sees it at its next sign of life."""
    query = select(JobRow).where(JobRow.person_id == person_id, JobRow.subject_id == subject_id)
    for row in session.exec(query).all():
        if row.state == "queued":
            close_job(session, row=row, state="cancelled", now=now)
        elif row.state == "running":
            row.cancel_requested = True
            session.add(row)


def due(session: Session, *, now: float, unheard_seconds: float, stale_seconds: float) -> list[Wake]:
    """Jobs that nobody took for a while, and jobs whose worker is silent; their wake-up is noted."""
    waiting = and_(col(JobRow.state) == "queued", col(JobRow.woken_at) < now - unheard_seconds)
    silent = and_(
        col(JobRow.state) == "running",
        col(JobRow.heartbeat_at) < now - stale_seconds,
        col(JobRow.woken_at) < now - min(unheard_seconds, stale_seconds),
    )
    rows = session.exec(select(JobRow).where(or_(waiting, silent)).order_by(col(JobRow.created_at))).all()
    for row in rows:
        row.woken_at = now
        session.add(row)
    return [Wake(row.kind, row.id) for row in rows]


def running_by(session: Session) -> Sequence[tuple[str, str]]:
    """Id and worker of every job that is said to run."""
    rows: Any = session.exec(select(JobRow.id, JobRow.worker).where(JobRow.state == "running")).all()
    return [(id, worker) for id, worker in rows]


def unfinished(session: Session) -> Sequence[str]:
    """Names (`Claim.name`) of the jobs that wait or run."""
    rows = session.exec(select(JobRow).where(col(JobRow.state).in_(("queued", "running")))).all()
    return [_name(row.id, row.created_at) for row in rows]


def release(session: Session, *, ids: Sequence[str], worker: str) -> None:
    """That worker is known to be dead: what it had in hand waits again."""
    for row in session.exec(select(JobRow).where(col(JobRow.id).in_(ids), JobRow.worker == worker)).all():
        if row.state == "running":
            row.state, row.worker, row.woken_at = "queued", "", 0.0
            session.add(row)


def _name(id: str, created_at: float) -> str:
    return f"{id}.{int(created_at * 1000)}"


def _claim(row: JobRow) -> Claim:
    payload = PAYLOADS.validate_python(row.payload)
    return Claim(row.id, row.kind, row.person_id, payload, row.attempt, row.furthest_attempt, row.created_at)


def _free(row: JobRow, silent_since: float) -> bool:
    return row.state == "queued" or (row.state == "running" and row.heartbeat_at < silent_since)


def _another_check(session: Session, row: JobRow, silent_since: float) -> bool:
    lock(session, f"checks of {row.person_id}")
    query = select(JobRow.id).where(
        JobRow.person_id == row.person_id,
        JobRow.kind == "check",
        JobRow.state == "running",
        JobRow.id != row.id,
        col(JobRow.heartbeat_at) >= silent_since,
    )
    return session.exec(query).first() is not None
