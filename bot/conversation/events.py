"""Where and who, and what can happen: the events that the conversation is told about."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True)
class Place:
    """A chat: a private one with the bot, or a group, channel or server channel with others in it."""

    platform: str
    chat_id: str
    private: bool
    title: str = ""


@dataclass(frozen=True)
class Person:
    """A chat account as its platform knows it."""

    platform: str
    user_id: str
    name: str = ""
    language: str = ""


@dataclass(frozen=True)
class Started:
    """/start, with the payload of a deep link where there was one."""

    payload: str = ""


@dataclass(frozen=True)
class Command:
    """A slash command without its slash, lower case, and the rest of the line (`headshot`, `linkedin`)."""

    name: str
    argument: str = ""


@dataclass(frozen=True)
class Choice:
    """A pressed button: the action and argument it was made with (see `Button`)."""

    action: str
    argument: str = ""


@dataclass(frozen=True)
class Text:
    """Plain words."""

    text: str


@dataclass(frozen=True)
class FileRef:
    """A file that somebody sent, not yet fetched.

    `unique_id` is the platform's stable id of the file's content or upload; `handle` is what
    `Platform.fetch` needs to get it, as JSON. `size_bytes` is 0 where the platform does not tell.
    """

    unique_id: str
    handle: dict[str, Any]
    size_bytes: int = 0
    name: str = ""
    mime: str = ""


@dataclass(frozen=True)
class PhotosSent:
    """One or more photos (an album on some platforms arrives as many of these, one photo each)."""

    photos: tuple[FileRef, ...]


@dataclass(frozen=True)
class OtherSent:
    """Something that is no photo: `what` is pdf, video, sticker, voice, animation, file, ..."""

    what: str


@dataclass(frozen=True)
class Blocked:
    """The person blocked the bot or left."""


class Verdict(StrEnum):
    """What became of a selfie."""

    PENDING = "pending"  # being fetched or looked at
    ACCEPTED = "accepted"
    DOUBTFUL = "doubtful"  # only soft problems: the person may use it anyway
    REFUSED = "refused"


@dataclass(frozen=True)
class SelfieJudged:
    """One selfie's verdict and the problem codes (`engine.photos.Problem` values) behind it."""

    selfie_id: str
    verdict: Verdict
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class SelfiesJudged:
    """From the engine: verdicts; a later look at the whole set may change earlier ones."""

    verdicts: tuple[SelfieJudged, ...]


@dataclass(frozen=True)
class SelfieLost:
    """From fetching: the file is `gone` or `too_large`."""

    selfie_id: str
    reason: str


@dataclass(frozen=True)
class TrainingProgressed:
    """From the engine, lossy. `stage` is queued, preparing or training; `ahead` jobs wait before it."""

    adapter_id: str
    stage: str
    fraction: float = 0.0
    eta_seconds: float | None = None
    ahead: int = 0


@dataclass(frozen=True)
class TrainingFinished:
    """From the engine: the adapter is stored. `likeness` is a band (strong, good, weak) or empty;
    `advice` are codes of the selfies that would help (`engine.advice`)."""

    adapter_id: str
    seconds: float = 0.0
    likeness: str = ""
    advice: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingFailed:
    """From the engine, final. `reason` is a code of `engine.errors`."""

    adapter_id: str
    reason: str


@dataclass(frozen=True)
class ShootFinished:
    """From the engine: the headshots are stored; their ids, best first.

    They are the best of `tried`; `reached` of them are as they shall be, and `lacking` are codes of
    what the others lack (`engine.ranking.Flaw`).
    """

    shoot_id: str
    headshot_ids: tuple[str, ...]
    seconds: float = 0.0
    tried: int = 0
    reached: int = 0
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShootFailed:
    """From the engine, final. `reason` is a code of `engine.errors`."""

    shoot_id: str
    reason: str


Event = (
    Started
    | Command
    | Choice
    | Text
    | PhotosSent
    | OtherSent
    | Blocked
    | SelfiesJudged
    | SelfieLost
    | TrainingProgressed
    | TrainingFinished
    | TrainingFailed
    | ShootFinished
    | ShootFailed
)


@dataclass(frozen=True)
class Incoming:
    """One event of one person.

    `place` is where it happened; for events of the engine it is the place where the work was asked for.
    `can_whisper`: an answer in this place can be shown to this person alone (Discord's ephemeral answers).
    `reply` is the platform's own handle to answer this very event (an interaction token with its expiry),
    opaque here; effects that answer in `place` carry it along.
    """

    person: Person
    place: Place
    event: Event
    can_whisper: bool = False
    reply: dict[str, Any] | None = None
