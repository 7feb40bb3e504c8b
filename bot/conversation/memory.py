"""What the conversation remembers of one person. Stored as JSON; everything else is derived."""

from dataclasses import dataclass
from enum import StrEnum

from bot.conversation.events import Person, Place, Verdict


@dataclass(frozen=True)
class Selfie:
    """A photo the person sent. `number` counts from 1 in order of arrival and is what texts call it by."""

    id: str
    number: int
    verdict: Verdict = Verdict.PENDING
    problems: tuple[str, ...] = ()
    overridden: bool = False  # the person chose "use it anyway"
    file_key: str = ""  # the same for the same file, so that it is recognised when it comes again

    @property
    def usable(self) -> bool:
        """Goes into training."""
        return self.verdict is Verdict.ACCEPTED or (self.overridden and self.verdict is Verdict.DOUBTFUL)


class TrainingStage(StrEnum):
    """Where a training stands, as the person is told."""

    QUEUED = "queued"
    PREPARING = "preparing"
    TRAINING = "training"


@dataclass(frozen=True)
class Training:
    """The training in flight."""

    adapter_id: str
    stage: TrainingStage
    started_at: float  # seconds since the epoch
    fraction: float = 0.0
    eta_seconds: float | None = None
    ahead: int = 0
    place: Place | None = None  # where its card is
    selfies: int = 0  # how many it learns from
    last_selfie: int = 0  # the newest selfie when it was asked for


@dataclass(frozen=True)
class Shoot:
    """A shoot in flight."""

    id: str
    style: str
    count: int
    place: Place  # where the headshots go
    started_at: float
    asked_in: Place | None = None  # the group where it was asked, when the answer goes elsewhere
    wish: str = ""  # all that was asked for, as it could be typed
    adapter_id: str = ""


@dataclass(frozen=True)
class FinishedShoot:
    """A shoot whose headshots were made, for `again`, `originals` and `show`."""

    id: str
    wish: str
    headshot_ids: tuple[str, ...]  # empty where they are deleted
    finished_at: float
    adapter_id: str = ""


@dataclass(frozen=True)
class Intake:
    """The card about the selfies, and where it is.

    extra, too_large, repeated: photos that were not taken of those that came last, by reason.
    """

    place: Place
    touched_at: float
    extra: int = 0
    too_large: int = 0
    repeated: int = 0


@dataclass(frozen=True)
class Adapter:
    """The person's trained adapter."""

    id: str
    trained_at: float
    selfies: int
    likeness: str = ""
    last_selfie: int = 0  # selfies up to this number are deleted some time after the training
    used_at: float = 0.0


@dataclass(frozen=True)
class State:
    """All that the conversation remembers of one person. Everything else is derived."""

    person_id: str
    person: Person
    home: Place | None = None  # the private chat, once they wrote there
    consent_version: int | None = None
    consent_at: float | None = None
    selfies: tuple[Selfie, ...] = ()
    selfies_seen: int = 0  # numbers are never used twice
    training: Training | None = None
    adapter: Adapter | None = None
    trainings_started: int = 0
    shoots: tuple[Shoot, ...] = ()
    shoots_started: int = 0
    open_groups: tuple[str, ...] = ()  # chat ids where the person allows their headshots to be shown
    confirming_deletion: bool = False
    blocked: bool = False
    last_style: str = ""
    recent: tuple[float, ...] = ()  # starts of the shoots of the last day
    recent_trainings: tuple[float, ...] = ()  # starts of the trainings of the last day
    intake: Intake | None = None
    finished: tuple[FinishedShoot, ...] = ()  # the newest few, oldest first
    outdated: tuple[str, ...] = ()  # replaced adapters that a shoot in flight still needs
