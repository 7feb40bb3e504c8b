"""What the conversation wants: what is said and shown, which work begins and ends, what is deleted."""

from dataclasses import dataclass, field
from typing import Any

from bot.conversation.events import FileRef, Place


@dataclass(frozen=True)
class Button:
    """`action` and `argument` come back in a `Choice`; together at most 48 bytes.

    Actions with a meaning for platforms: `private` opens the private chat (Telegram: a deep link with the
    argument as payload), `upload` opens the platform's own form for photos where there is one.
    Every other action belongs to the conversation.
    """

    label: str
    action: str
    argument: str = ""


@dataclass(frozen=True)
class CommandInfo:
    """A command as it is registered with the platforms."""

    name: str
    description: str
    argument: str = ""  # what follows it, as a word for the person; empty = nothing
    in_groups: bool = False


@dataclass(frozen=True)
class Say:
    """A message. `key` and `values` name a sentence of `bot.texts`; rows of buttons stand below it.

    `card`: messages with the same card name in the same place are one message, edited in place; only the
    newest content counts. `below_after`: the card goes below what was said since, as a new message instead of
    its old one, once nothing more moved it for so many seconds; None: it stays where it is.
    `whisper`: only this person may see it, where the platform can do that.
    """

    to: Place
    key: str
    values: dict[str, Any] = field(default_factory=dict)
    buttons: tuple[tuple[Button, ...], ...] = ()
    card: str = ""
    below_after: float | None = None
    whisper: bool = False
    pictures: tuple[str, ...] = ()  # blob keys of pictures that ship with the product (style samples)


@dataclass(frozen=True)
class ShowHeadshots:
    """Each headshot is an item of its own that is delivered once; `as_files` sends the originals."""

    to: Place
    shoot_id: str
    headshot_ids: tuple[str, ...]
    whisper: bool = False
    as_files: bool = False


@dataclass(frozen=True)
class SendExport:
    """Everything that is stored about the person, as a ZIP file in the private chat."""

    to: Place
    whisper: bool = False


@dataclass(frozen=True)
class RecordConsent:
    """Consent was given (`version`) or withdrawn (None), for the audit log."""

    version: int | None


@dataclass(frozen=True)
class KeepSelfie:
    """Fetch this file, store it encrypted, have it checked."""

    selfie_id: str
    number: int
    file: FileRef


@dataclass(frozen=True)
class DropSelfies:
    """Delete these selfies and what was derived from them."""

    selfie_ids: tuple[str, ...]


@dataclass(frozen=True)
class StartTraining:
    """Train this adapter from these selfies."""

    adapter_id: str
    selfie_ids: tuple[str, ...]


@dataclass(frozen=True)
class StartShoot:
    """Make headshots. `prompt` is complete except for the trigger word, which stands as `{subject}`."""

    shoot_id: str
    adapter_id: str
    style: str
    prompt: str
    count: int
    place: Place
    seed: int | None = None


@dataclass(frozen=True)
class RecordOpinion:
    """The person likes a headshot, or does not see themselves in it. The last word on a headshot counts."""

    headshot_id: str
    liked: bool


@dataclass(frozen=True)
class CancelWork:
    """Stop a training or a shoot; nothing is delivered for it any more."""

    subject_id: str  # adapter id or shoot id


@dataclass(frozen=True)
class DropAdapter:
    """Delete an adapter, its headshots and everything cached of it."""

    adapter_id: str


@dataclass(frozen=True)
class ForgetPerson:
    """Delete everything about the person: work in flight, selfies, adapters, headshots, messages, state."""


Effect = (
    Say
    | ShowHeadshots
    | SendExport
    | RecordConsent
    | KeepSelfie
    | DropSelfies
    | StartTraining
    | StartShoot
    | RecordOpinion
    | CancelWork
    | DropAdapter
    | ForgetPerson
)


@dataclass(frozen=True)
class Rules:
    """The operator's numbers that the conversation obeys (from `config.toml`)."""

    min_selfies: int = 8
    wanted_selfies: int = 15
    max_selfies: int = 25
    max_photo_bytes: int = 20 * 1024 * 1024
    headshots_per_shoot: int = 4
    max_headshots_per_shoot: int = 8
    shoots_per_day: int = 40
    trainings_per_day: int = 4
    consent_version: int = 1
    base_name: str = ""  # shown in /privacy and /mydata
    retention_hours: int = 24  # selfies after a training
    headshot_hours: int = 24  # headshots after delivery
    adapter_idle_days: int = 30  # an adapter that nobody used
    marked: bool = True  # headshots say that an AI made them
    operator_contact: str = ""  # shown in /privacy
