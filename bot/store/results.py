"""What a job needs to be done, and what its result becomes: one transaction at each end.

Every result asks first whether its claim still counts. Where it does not, nothing is written, and the files
that were stored for it are doomed in the same transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, func, select

from bot import jobs
from bot.conversation.types import (
    SelfieJudged,
    SelfiesJudged,
    ShootFailed,
    ShootFinished,
    TrainingFailed,
    TrainingFinished,
    TrainingProgressed,
    Verdict,
)
from bot.store import deletion, people, work
from bot.store.models import AdapterRow, HeadshotRow, JobRow, PhotoRow, ShootRow
from bot.store.work import Claim

_JUDGED = ("accepted", "doubtful", "refused")


@dataclass(frozen=True)
class Photo:
    """A selfie's files in the blob store; `facts` is empty where the engine could not use the photo."""

    id: str
    blob: str
    facts: str


@dataclass(frozen=True)
class Made:
    """A headshot that was stored."""

    blob: str
    width: int
    height: int
    seed: int
    likeness: float | None
    facts_blob: str = ""


def photo_to_check(session: Session, *, claim: Claim) -> tuple[Photo, Sequence[Photo]] | None:
    """The photo of a check and the others of its set that the engine has facts of. None if it is gone."""
    assert isinstance(claim.payload, jobs.CheckSelfie)
    row = session.get(PhotoRow, claim.payload.selfie_id)
    if row is None or not row.blob:
        return None
    query = select(PhotoRow).where(
        PhotoRow.person_id == claim.person_id, col(PhotoRow.facts_blob) != "", PhotoRow.id != row.id
    )
    return _photo(row), [_photo(other) for other in session.exec(query.order_by(col(PhotoRow.number)))]


def photos_to_train(session: Session, *, claim: Claim) -> Sequence[Photo]:
    """The selfies of a training that still exist, in the order of their arrival."""
    assert isinstance(claim.payload, jobs.TrainAdapter)
    query = select(PhotoRow).where(
        PhotoRow.person_id == claim.person_id,
        col(PhotoRow.id).in_(claim.payload.selfie_ids),
        col(PhotoRow.status).in_(_JUDGED),
    )
    return [_photo(row) for row in session.exec(query.order_by(col(PhotoRow.number)))]


def adapter_to_use(session: Session, *, claim: Claim) -> str:
    """The blob of a shoot's adapter; empty where it was deleted."""
    assert isinstance(claim.payload, jobs.MakeHeadshots)
    row = session.get(AdapterRow, claim.payload.adapter_id)
    return row.blob if row is not None and row.person_id == claim.person_id else ""


def waits(session: Session, *, id: str, now: float) -> None:
    """Tell how many trainings are before this one, if nobody has begun it."""
    row = session.get(JobRow, id, populate_existing=True)
    if row is None or row.kind != "train" or row.state != "queued":
        return
    open_ones = (JobRow.kind == "train", col(JobRow.state).in_(("queued", "running")))
    earlier = select(func.count()).where(*open_ones, col(JobRow.created_at) < row.created_at)
    event = TrainingProgressed(row.subject_id, "queued", ahead=session.exec(earlier).one())
    people.report_progress(session, person_id=row.person_id, subject_id=row.subject_id, event=event, now=now)


def progressed(session: Session, *, claim: Claim, event: TrainingProgressed, now: float) -> None:
    """Tell how far a training is."""
    job = work.held(session, claim)
    if job is not None:
        work.note_progress(session, row=job, fraction=event.fraction)
        subject = event.adapter_id
        people.report_progress(session, person_id=claim.person_id, subject_id=subject, event=event, now=now)


def checked(
    session: Session,
    *,
    claim: Claim,
    verdicts: Mapping[str, Mapping[str, Any]],
    clean_blob: str,
    facts_blob: str,
    now: float,
) -> bool:
    """A photo was looked at; verdicts on others of its set may have changed with it."""
    job = _finishing(session, claim, [clean_blob, facts_blob])
    photo = session.get(PhotoRow, job.subject_id) if job else None
    if job is None or photo is None:
        return False
    photo.clean_blob, photo.facts_blob = clean_blob, facts_blob
    query = select(PhotoRow).where(PhotoRow.person_id == claim.person_id, col(PhotoRow.id).in_(verdicts))
    judged = []
    for row in session.exec(query).all():
        if row.status not in (*_JUDGED, "checking"):
            continue
        verdict, problems = Verdict(verdicts[row.id]["verdict"]), tuple(verdicts[row.id]["problems"])
        if row.id == photo.id or row.status in _JUDGED:
            row.status, row.problems = verdict.value, list(problems)
            session.add(row)
            judged.append(SelfieJudged(row.id, verdict, problems))
    if clean_blob or photo.status == "refused":  # what was sent has done its service, or is of no use
        deletion.doom(session, [photo.blob])
        photo.blob = ""
    session.add(photo)
    event = SelfiesJudged(tuple(judged))
    people.report(session, person_id=claim.person_id, key=f"judged:{claim.id}", event=event, now=now)
    work.close_job(session, row=job, state="done", now=now)
    return True


def trained(
    session: Session, *, claim: Claim, blob: str, base: str, event: TrainingFinished, facts: Any, now: float
) -> bool:
    """An adapter was stored."""
    job = _finishing(session, claim, [blob])
    row = session.get(AdapterRow, event.adapter_id) if job else None
    if job is None or row is None:
        return False
    row.status, row.blob, row.base, row.finished_at = "ready", blob, base, now
    row.likeness, row.facts = event.likeness, dict(facts)
    session.add(row)
    _end(session, claim, job, "done", f"trained:{row.id}", event, now)
    return True


def made(
    session: Session,
    *,
    claim: Claim,
    pictures: Sequence[Made],
    told: tuple[float, int, int, tuple[str, ...]],
    now: float,
) -> bool:
    """The headshots of a shoot were stored, best first; `told`: the last fields of `ShootFinished`."""
    job = _finishing(session, claim, [key for each in pictures for key in (each.blob, each.facts_blob)])
    shoot = session.get(ShootRow, job.subject_id) if job else None
    if job is None or shoot is None:
        return False
    ids = []
    for index, picture in enumerate(pictures):
        row = HeadshotRow(
            id=f"{shoot.id}.{index}",
            shoot_id=shoot.id,
            person_id=claim.person_id,
            index=index,
            blob=picture.blob,
            width=picture.width,
            height=picture.height,
            seed=picture.seed,
            likeness=picture.likeness,
            facts_blob=picture.facts_blob,
            created_at=now,
        )
        session.add(row)
        ids.append(row.id)
    shoot.status, shoot.finished_at = "ready", now
    session.add(shoot)
    event = ShootFinished(shoot.id, tuple(ids), *told)
    _end(session, claim, job, "done", f"made:{shoot.id}", event, now)
    return True


def failed(session: Session, *, claim: Claim, reason: str, now: float) -> bool:
    """A job ended for good without a result; `cancelled` is what the person wanted and is told to nobody."""
    job = work.held(session, claim)
    if job is None:
        return False
    cancelled = job.cancel_requested or reason == "cancelled"
    row = session.get(AdapterRow, job.subject_id) or session.get(ShootRow, job.subject_id)
    if row is not None and row.finished_at is None:
        row.status, row.finished_at = "cancelled" if cancelled else "failed", now
        session.add(row)
    if cancelled:
        work.close_job(session, row=job, state="cancelled", now=now)
        return True
    match claim.payload:
        case jobs.CheckSelfie(selfie_id=id):
            _refuse(session, claim, job, id, now)
        case jobs.TrainAdapter(adapter_id=id):
            event = TrainingFailed(id, reason)
            _end(session, claim, job, "failed", f"trained:{id}", event, now, reason)
        case jobs.MakeHeadshots(shoot_id=id):
            _end(session, claim, job, "failed", f"made:{id}", ShootFailed(id, reason), now, reason)
    return True


def living_adapters(session: Session, *, ids: Iterable[str]) -> set[str]:
    """Those of these adapters that still exist."""
    return set(session.exec(select(AdapterRow.id).where(col(AdapterRow.id).in_(list(ids)))).all())


def _refuse(session: Session, claim: Claim, job: JobRow, selfie_id: str, now: float) -> None:
    """A photo that the engine fails at again and again is one that nobody can read."""
    photo = session.get(PhotoRow, selfie_id)
    if photo is not None:
        photo.status, photo.problems = "refused", ["unreadable"]
        deletion.doom(session, [photo.blob])
        photo.blob = ""
        session.add(photo)
    event = SelfiesJudged((SelfieJudged(selfie_id, Verdict.REFUSED, ("unreadable",)),))
    _end(session, claim, job, "failed", f"judged:{claim.id}", event, now, "engine_failed")


def _finishing(session: Session, claim: Claim, blobs: Sequence[str]) -> JobRow | None:
    """The job row, if this claim may finish it; else what it stored is doomed."""
    job = work.held(session, claim)
    if job is None or job.cancel_requested:
        deletion.doom(session, blobs)
        return None
    return job


def _end(
    session: Session,
    claim: Claim,
    job: JobRow,
    state: str,
    key: str,
    event: jobs.WorkEvent,
    now: float,
    reason: str = "",
) -> None:
    people.report_progress(session, person_id=claim.person_id, subject_id=job.subject_id, event=None, now=now)
    people.report(session, person_id=claim.person_id, key=key, event=event, now=now)
    work.close_job(session, row=job, state=state, now=now, reason=reason)


def _photo(row: PhotoRow) -> Photo:
    return Photo(row.id, row.clean_blob or row.blob, row.facts_blob)
