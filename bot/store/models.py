"""The tables. Rows never leave `bot.store`, `bot.inbox`, `bot.delivery`, `bot.fetching` and `worker`.

The database is the truth; Redis only wakes. Times are seconds since the epoch (float, UTC), so that SQLite
and Postgres agree. Blob keys name encrypted files in `bot.store.blobs`.
"""

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel


class PersonRow(SQLModel, table=True):
    """One chat account and the conversation's memory of it (`State` as JSON)."""

    __tablename__ = "person"
    id: str = Field(primary_key=True)  # "<platform>:<user id>"
    platform: str = Field(index=True)
    user_id: str
    state: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    created_at: float
    seen_at: float


class ConsentRow(SQLModel, table=True):
    """The audit log of consent: one row for every giving and withdrawal. Survives deletion of the person."""

    __tablename__ = "consent"
    id: int | None = Field(default=None, primary_key=True)
    person_hash: str = Field(index=True)  # SHA-256 of the person id with the installation's salt
    version: int | None
    at: float


class InboxRow(SQLModel, table=True):
    """Something that happened to a person's conversation and must be handled exactly once.

    `platform` decides which process handles it. Updates come in under the platform's own key; results of the
    engine under a key made of what they are about. `person_id` is empty until an update was translated.
    """

    __tablename__ = "inbox"
    __table_args__ = (
        Index("inbox_open", "platform", "handled_at", "id"),
        {"sqlite_autoincrement": True},  # ids are in the outbox's keys: a deleted one is never used again
    )
    id: int | None = Field(default=None, primary_key=True)
    platform: str
    key: str = Field(unique=True)
    source: str  # "platform" (a raw update) or "work" (an event as JSON, see bot.jobs)
    person_id: str = ""
    payload: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    received_at: float
    handled_at: float | None = None
    attempts: int = 0
    error: str = ""


class PhotoRow(SQLModel, table=True):
    """A selfie. `file` is what the platform needs to fetch it; `blob` its bytes once fetched."""

    __tablename__ = "photo"
    id: str = Field(primary_key=True)
    person_id: str = Field(index=True)
    number: int
    platform: str
    file: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    status: str = Field(index=True)  # fetching | checking | accepted | doubtful | refused | lost
    problems: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    blob: str = ""  # as sent; deleted once `clean_blob` exists
    clean_blob: str = ""  # upright, without metadata
    facts_blob: str = ""  # PhotoChecked.facts as JSON: a face template, so encrypted like the photo
    fetch_attempts: int = 0
    not_before: float = 0.0
    created_at: float


class AdapterRow(SQLModel, table=True):
    """A trained adapter, or one in training."""

    __tablename__ = "adapter"
    id: str = Field(primary_key=True)
    person_id: str = Field(index=True)
    status: str  # training | ready | failed | cancelled
    selfie_ids: list[str] = Field(sa_column=Column(JSON, nullable=False))
    base: str = ""
    blob: str = ""
    likeness: str = ""
    facts: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    created_at: float
    finished_at: float | None = None


class ShootRow(SQLModel, table=True):
    """A request for headshots."""

    __tablename__ = "shoot"
    id: str = Field(primary_key=True)
    person_id: str = Field(index=True)
    adapter_id: str
    status: str  # running | ready | failed | cancelled
    style: str
    prompt: str = Field(sa_column=Column(Text, nullable=False))
    count: int
    seed: int = Field(sa_column=Column(BigInteger, nullable=False))
    place: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    created_at: float
    finished_at: float | None = None


class HeadshotRow(SQLModel, table=True):
    """One delivered or deliverable picture."""

    __tablename__ = "headshot"
    id: str = Field(primary_key=True)  # "<shoot id>.<index>"
    shoot_id: str = Field(index=True)
    person_id: str = Field(index=True)
    index: int
    blob: str
    width: int
    height: int
    seed: int = Field(sa_column=Column(BigInteger, nullable=False))
    likeness: float | None = None
    facts_blob: str = ""  # Picture.facts as JSON: a face template, so encrypted; moves to an opinion
    created_at: float


class OpinionRow(SQLModel, table=True):
    """What a person said of a headshot; the headshot itself is deleted long before this is."""

    __tablename__ = "opinion"
    id: str = Field(primary_key=True)  # the headshot's
    person_id: str = Field(index=True)
    adapter_id: str = Field(index=True)
    liked: bool
    facts_blob: str = ""
    created_at: float


class JobRow(SQLModel, table=True):
    """A piece of work for the engine. The row is the job; arq only says that there may be one.

    `attempt` fences: a worker that lost its lease cannot finish a job that another has taken since. Whether a
    job is given up goes by what became of it since an attempt last came further than any before.
    """

    __tablename__ = "job"
    __table_args__ = (Index("job_open", "state", "kind", "created_at"),)
    id: str = Field(primary_key=True)  # "<kind>:<subject id>"
    kind: str  # check | train | shoot
    person_id: str = Field(index=True)
    subject_id: str
    payload: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    state: str  # queued | running | done | failed | cancelled
    attempt: int = 0
    heartbeat_at: float = 0.0
    woken_at: float = 0.0
    cancel_requested: bool = False
    furthest: float = 0.0  # the largest fraction that was ever told of it
    furthest_attempt: int = 0  # the one that came so far
    failures: int = 0  # since then, and without anybody's wish; a killed worker does not count
    worker: str = ""  # who runs it, see `bot.queueing.me`
    reason: str = ""
    created_at: float
    finished_at: float | None = None


class OutboxRow(SQLModel, table=True):
    """One logical item for a person: a message, a card, a headshot, a file.

    Written in the transaction that promises it; `bot.delivery` sends it. A card has one row for each place
    and card name: newer content replaces older (`version`), `sent_version` follows when it is out; a version
    up to `moved_version` goes out as a new message, below what was said since.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index("outbox_open", "platform", "state", "not_before"),
        {"sqlite_autoincrement": True},  # ids are in the nonces
    )
    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(unique=True)  # the same promise is never written twice
    platform: str
    person_id: str = Field(index=True)
    user_id: str
    place: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    kind: str  # message | card | headshot | file
    text: str = Field(default="", sa_column=Column(Text, nullable=False))
    buttons: list[Any] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    blobs: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    names: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    as_file: bool = False
    whisper: bool = False
    reply: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))
    album: str = ""  # items of one album name may go out together
    state: str = "pending"  # pending | sent | parked | dead | withdrawn
    version: int = 1
    sent_version: int = 0
    moved_version: int = 0
    message: str = ""  # the platform's reference once it is out
    attempts: int = 0
    not_before: float = 0.0
    attempted_at: float | None = None
    error: str = ""
    created_at: float
    sent_at: float | None = None


class DoomedRow(SQLModel, table=True):
    """A blob, or with a slash at its end a folder of blobs, that no row mentions any more.

    Written in the transaction that dropped the last mention; gone once the files are.
    """

    __tablename__ = "doomed"
    key: str = Field(primary_key=True)


class SecretRow(SQLModel, table=True):
    """Small values of the installation itself (salt of the audit log, hash of the registered commands)."""

    __tablename__ = "secret"
    name: str = Field(primary_key=True)
    value: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
