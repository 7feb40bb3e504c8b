"""A person in a chat, for tests: says and does things, and reads what comes back as a transcript."""

from dataclasses import dataclass, field
from typing import Any

from bot.conversation.machine import advance, new_state
from bot.conversation.types import (
    Choice,
    Command,
    Effect,
    Event,
    FileRef,
    Incoming,
    KeepSelfie,
    Person,
    PhotosSent,
    Place,
    Rules,
    Say,
    SelfieJudged,
    SelfiesJudged,
    ShootFinished,
    ShowHeadshots,
    Started,
    StartShoot,
    StartTraining,
    State,
    Text,
    TrainingFinished,
    Verdict,
)
from bot.styles import Catalogue
from bot.texts import render

STYLES = Catalogue.load()
RULES = Rules(base_name="demo", operator_contact="studio@example.org")
ANNA = Person("telegram", "7", "Anna", "en")
HOME = Place("telegram", "7", private=True)
GROUP = Place("telegram", "-100", private=False, title="The team")
START = 1_764_000_000.0


def photo(number: int, size_bytes: int = 1000) -> FileRef:
    """A photo as a platform names it."""
    return FileRef(f"file-{number}", {"file_id": str(number)}, size_bytes)


@dataclass
class Chat:
    """One person's conversation. The clock moves by a second with each event."""

    rules: Rules = RULES
    person: Person = ANNA
    place: Place = HOME
    can_whisper: bool = False
    now: float = START
    state: State = field(init=False)
    effects: tuple[Effect, ...] = ()
    history: list[Effect] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = new_state(f"{self.person.platform}:{self.person.user_id}", self.person)

    def happens(self, event: Event, place: Place | None = None) -> "Chat":
        """One turn."""
        self.now += 1
        incoming = Incoming(self.person, place or self.place, event, self.can_whisper)
        self.state, self.effects = advance(self.state, incoming, self.now, rules=self.rules, styles=STYLES)
        self.history.extend(self.effects)
        return self

    def command(self, line: str, place: Place | None = None) -> "Chat":
        name, _, argument = line.lstrip("/").partition(" ")
        return self.happens(Started(argument) if name == "start" else Command(name, argument), place)

    def press(self, action: str, argument: object = None, place: Place | None = None) -> "Chat":
        """A button; without an argument the newest one of that action."""
        shown = [each for say in self.all(Say) for row in say.buttons for each in row]
        newest = next((each.argument for each in reversed(shown) if each.action == action), "")
        return self.happens(Choice(action, newest if argument is None else str(argument)), place)

    def say(self, text: str, place: Place | None = None) -> "Chat":
        return self.happens(Text(text), place)

    def send(self, *numbers: int, place: Place | None = None) -> "Chat":
        return self.happens(PhotosSent(tuple(photo(number) for number in numbers)), place)

    def judge(self, verdict: Verdict = Verdict.ACCEPTED, *problems: str, last: int = 0) -> "Chat":
        """The engine's verdict on what is pending (the last few of it)."""
        pending = [selfie for selfie in self.state.selfies if selfie.verdict is Verdict.PENDING]
        chosen = pending[-last:] if last else pending
        return self.happens(
            SelfiesJudged(tuple(SelfieJudged(selfie.id, verdict, problems) for selfie in chosen))
        )

    # journeys that many tests begin with

    def agreed(self) -> "Chat":
        return self.command("/start").press("consent_yes")

    def enough(self, count: int = 8) -> "Chat":
        return self.agreed().send(*range(1, count + 1)).judge()

    def training(self) -> "Chat":
        return self.enough().press("train")

    def ready(self) -> "Chat":
        return self.training().happens(TrainingFinished(self.adapter_id, 300.0, "good"))

    @property
    def adapter_id(self) -> str:
        """The newest training's adapter."""
        return self.all(StartTraining)[-1].adapter_id

    @property
    def shoot_id(self) -> str:
        """The newest shoot."""
        return self.all(StartShoot)[-1].shoot_id

    def shot(self, shoot_id: str = "", count: int = 4) -> "Chat":
        """The engine has made the headshots of a shoot."""
        name = shoot_id or self.shoot_id
        return self.happens(ShootFinished(name, tuple(f"{name}.{each}" for each in range(count)), 20.0))

    # what came of it

    def all(self, kind: type) -> list[Any]:
        """Effects of a kind since the beginning."""
        return [effect for effect in self.history if isinstance(effect, kind)]

    def now_all(self, kind: type) -> list[Any]:
        """Effects of a kind in this turn."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def said(self) -> list[str]:
        """The keys of this turn's messages."""
        return [say.key for say in self.now_all(Say)]

    @property
    def text(self) -> str:
        """This turn's messages as a person reads them."""
        return "\n".join(render(say.key, say.values, self.person.language) for say in self.now_all(Say))

    @property
    def buttons(self) -> list[tuple[str, str]]:
        """Action and argument of this turn's buttons."""
        return [
            (each.action, each.argument) for say in self.now_all(Say) for row in say.buttons for each in row
        ]

    @property
    def actions(self) -> list[str]:
        """Actions of this turn's buttons."""
        return [action for action, _ in self.buttons]

    @property
    def labels(self) -> list[str]:
        """What stands on this turn's buttons."""
        return [each.label for say in self.now_all(Say) for row in say.buttons for each in row]


__all__ = ["Chat", "KeepSelfie", "ShowHeadshots"]
