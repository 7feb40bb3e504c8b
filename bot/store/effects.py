"""What the conversation wants, as rows: applied inside the transaction that saves its new state."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import TypeAdapter
from sqlmodel import Session, col, select

from bot import jobs
from bot.conversation.types import (
    CancelWork,
    DropAdapter,
    DropSelfies,
    Effect,
    FileRef,
    ForgetPerson,
    Incoming,
    KeepSelfie,
    Place,
    RecordConsent,
    RecordOpinion,
    Say,
    SendExport,
    ShowHeadshots,
    StartShoot,
    StartTraining,
)
from bot.store import deletion, opinions, outbox, people, work
from bot.store.models import AdapterRow, HeadshotRow, OutboxRow, PhotoRow, ShootRow
from bot.store.outbox import BUTTONS, PLACES
from bot.texts import render

FILES: TypeAdapter[FileRef] = TypeAdapter(FileRef)
EXPORT_NAME = "likeness-my-data.zip"


@dataclass
class Applied:
    """What is left to do after the commit."""

    wakes: list[work.Wake] = field(default_factory=list)
    deletions: bool = False


@dataclass(frozen=True)
class Moment:
    """What the effects answer: who, where, under which unique name, and when."""

    person_id: str
    incoming: Incoming
    name: str  # unique for what happened; names everything that is promised for it
    now: float

    @property
    def language(self) -> str:
        """The person's language code, or empty."""
        return self.incoming.person.language


def apply(session: Session, moment: Moment, effects: Sequence[Effect]) -> Applied:
    """Write the rows of all effects. Forgetting comes first, so that its receipt is not forgotten too."""
    applied = Applied()
    ordered = sorted(enumerate(effects), key=lambda pair: not isinstance(pair[1], ForgetPerson))
    for number, effect in ordered:
        _apply_one(session, moment, f"{moment.name}.{number}", effect, applied)
    return applied


def _apply_one(session: Session, moment: Moment, name: str, effect: Effect, applied: Applied) -> None:
    person_id, now = moment.person_id, moment.now
    match effect:
        case Say():
            _say(session, moment, name, effect)
        case ShowHeadshots():
            _show(session, moment, name, effect)
        case SendExport():
            row = _item(moment, name, effect.to, "file", whisper=effect.whisper)
            row.names, row.as_file = [EXPORT_NAME], True
            outbox.promise(session, row)
        case RecordConsent():
            people.record_consent(session, person_id=person_id, version=effect.version, now=now)
        case KeepSelfie():
            _keep(session, moment, effect)
        case StartTraining():
            applied.wakes.append(_start_training(session, moment, effect))
        case StartShoot():
            applied.wakes.append(_start_shoot(session, moment, effect))
        case RecordOpinion():
            opinions.record(
                session, person_id=person_id, headshot_id=effect.headshot_id, liked=effect.liked, now=now
            )
        case CancelWork():
            _cancel(session, moment, effect.subject_id)
        case DropSelfies():
            deletion.drop_selfies(session, person_id=person_id, selfie_ids=effect.selfie_ids)
            applied.deletions = True
        case DropAdapter():
            deletion.drop_adapter(session, person_id=person_id, adapter_id=effect.adapter_id)
            applied.deletions = True
        case ForgetPerson():
            deletion.forget(session, person_id=person_id)
            applied.deletions = True


def _item(moment: Moment, key: str, to: Place, kind: str, *, whisper: bool) -> OutboxRow:
    person, place = moment.incoming.person, moment.incoming.place
    here = (to.platform, to.chat_id) == (place.platform, place.chat_id)
    return OutboxRow(
        key=key,
        platform=to.platform,
        person_id=moment.person_id,
        user_id=person.user_id,
        place=PLACES.dump_python(to, mode="json"),
        kind=kind,
        buttons=[],  # said, because SQLModel looks slowly for a default that has to be made
        blobs=[],
        names=[],
        whisper=whisper,
        reply=moment.incoming.reply if here else None,
        created_at=moment.now,
    )


def _say(session: Session, moment: Moment, name: str, say: Say) -> None:
    key = f"card:{moment.person_id}:{say.to.chat_id}:{say.card}" if say.card else name
    row = _item(moment, key, say.to, "card" if say.card else "message", whisper=say.whisper)
    row.text = render(say.key, say.values, moment.language)
    row.buttons = BUTTONS.dump_python(say.buttons, mode="json")
    row.blobs = list(say.pictures)
    row.names = [picture.rsplit("/", 1)[-1] for picture in say.pictures]
    if say.card:
        outbox.show_card(session, row, say.below_after)
    else:
        outbox.promise(session, row)


def _show(session: Session, moment: Moment, name: str, show: ShowHeadshots) -> None:
    query = select(HeadshotRow).where(
        HeadshotRow.person_id == moment.person_id, col(HeadshotRow.id).in_(show.headshot_ids)
    )
    found = {headshot.id: headshot for headshot in session.exec(query)}
    for number, headshot in enumerate(found[id] for id in show.headshot_ids if id in found):
        row = _item(moment, f"{name}.{number}", show.to, "headshot", whisper=show.whisper)
        row.blobs, row.as_file = [headshot.blob], show.as_files
        row.names = [f"headshot-{headshot.index + 1}.{headshot.blob.rsplit('.', 1)[-1]}"]
        row.album = f"{show.shoot_id}/{name}"
        outbox.promise(session, row)


def _keep(session: Session, moment: Moment, keep: KeepSelfie) -> None:
    session.add(
        PhotoRow(
            id=keep.selfie_id,
            person_id=moment.person_id,
            number=keep.number,
            platform=moment.incoming.person.platform,
            file=FILES.dump_python(keep.file, mode="json"),
            status="fetching",
            created_at=moment.now,
        )
    )


def _start_training(session: Session, moment: Moment, start: StartTraining) -> work.Wake:
    if session.get(AdapterRow, start.adapter_id) is None:
        session.add(
            AdapterRow(
                id=start.adapter_id,
                person_id=moment.person_id,
                status="training",
                selfie_ids=list(start.selfie_ids),
                created_at=moment.now,
            )
        )
    payload = jobs.TrainAdapter(
        adapter_id=start.adapter_id, selfie_ids=start.selfie_ids, seed=_seed(start.adapter_id)
    )
    return work.add_job(
        session,
        person_id=moment.person_id,
        subject_id=start.adapter_id,
        payload=payload,
        now=moment.now,
    )


def _start_shoot(session: Session, moment: Moment, start: StartShoot) -> work.Wake:
    seed = _seed(start.shoot_id) if start.seed is None else start.seed
    if session.get(ShootRow, start.shoot_id) is None:
        session.add(
            ShootRow(
                id=start.shoot_id,
                person_id=moment.person_id,
                adapter_id=start.adapter_id,
                status="running",
                style=start.style,
                prompt=start.prompt,
                count=start.count,
                seed=seed,
                place=PLACES.dump_python(start.place, mode="json"),
                created_at=moment.now,
            )
        )
    payload = jobs.MakeHeadshots(
        shoot_id=start.shoot_id,
        adapter_id=start.adapter_id,
        prompt=start.prompt,
        count=start.count,
        seed=seed,
        liked=opinions.of_adapter(session, adapter_id=start.adapter_id, liked=True),
        disliked=opinions.of_adapter(session, adapter_id=start.adapter_id, liked=False),
    )
    return work.add_job(
        session, person_id=moment.person_id, subject_id=start.shoot_id, payload=payload, now=moment.now
    )


def _cancel(session: Session, moment: Moment, subject_id: str) -> None:
    person_id, now = moment.person_id, moment.now
    work.cancel(session, person_id=person_id, subject_id=subject_id, now=now)
    outbox.withdraw_album(session, person_id=person_id, prefix=f"{subject_id}/")
    people.report_progress(session, person_id=person_id, subject_id=subject_id, event=None, now=now)
    row = session.get(AdapterRow, subject_id) or session.get(ShootRow, subject_id)
    if row is not None and row.person_id == person_id and row.finished_at is None:
        row.status, row.finished_at = "cancelled", now
        session.add(row)


def _seed(name: str) -> int:
    """The same on every attempt, different for every piece of work."""
    return zlib.crc32(name.encode()) & 0x7FFFFFFF
