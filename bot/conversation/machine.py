"""The conversation: one pure function from what happened to what is remembered and what is done.

    advance(state, incoming, now, rules=..., styles=...) -> (state, effects)

Nothing here waits, reads a clock or draws a random number: the same turn taken twice gives the same effects.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from bot.conversation import (
    cancelling,
    groups,
    guidance,
    intake,
    opinions,
    privacy,
    results,
    shooting,
    training,
    welcome,
)
from bot.conversation.turn import Turn, button
from bot.conversation.types import (
    Blocked,
    Choice,
    Command,
    Effect,
    Incoming,
    OtherSent,
    Person,
    PhotosSent,
    Rules,
    SelfieLost,
    SelfiesJudged,
    ShootFailed,
    ShootFinished,
    Started,
    State,
    Text,
    TrainingFailed,
    TrainingFinished,
    TrainingProgressed,
)
from bot.styles import Catalogue

Handler = Callable[[Turn, str], None]

COMMANDS: Mapping[str, Handler] = {
    "start": welcome.open_private,
    "selfies": intake.selfies,
    "remove": intake.remove,
    "train": training.train_command,
    "headshot": shooting.headshot,
    "styles": guidance.styles,
    "status": guidance.status,
    "cancel": cancelling.cancel_command,
    "privacy": privacy.privacy,
    "mydata": privacy.mydata,
    "deleteme": privacy.delete,
    "delete": privacy.delete,
    "help": guidance.help_command,
}

CHOICES: Mapping[str, Handler] = {
    "start": welcome.open_private,
    "private": welcome.open_private,
    "consent_yes": welcome.agree,
    "consent_no": welcome.decline,
    "upload": welcome.upload,
    "train": training.train,
    "train_anyway": training.train_anyway,
    "use_anyway": intake.use_anyway,
    "drop": intake.remove,
    "cancel": cancelling.cancel,
    "style": shooting.style,
    "styles": guidance.styles,
    "again": shooting.again,
    "originals": results.originals,
    "more_like_this": opinions.more_like_this,
    "not_me": opinions.not_me,
    "allow_group": groups.allow,
    "forbid_group": groups.forbid,
    "forget": privacy.delete,
    "forget_yes": privacy.forget,
    "forget_no": privacy.keep,
    "export": privacy.export,
    "status": guidance.status,
}


def new_state(person_id: str, person: Person) -> State:
    """What is remembered of somebody who never wrote: nothing."""
    return State(person_id=person_id, person=person)


def advance(
    state: State, incoming: Incoming, now: float, *, rules: Rules, styles: Catalogue
) -> tuple[State, tuple[Effect, ...]]:
    """Take one turn. Pure. `now`: seconds since the epoch.

    Whatever a person does is answered at least once in the place where they did it. Events of the engine that
    nobody waits for any more change nothing and say nothing.
    """
    turn = Turn(state, incoming, now, rules, styles)
    if not _from_engine(turn):
        _from_person(turn)
    return turn.state, tuple(turn.effects)


def _from_engine(turn: Turn) -> bool:
    """True if it was an event of the engine."""
    match turn.incoming.event:
        case SelfiesJudged() as event:
            intake.judged(turn, event)
        case SelfieLost() as event:
            intake.lost(turn, event)
        case TrainingProgressed() as event:
            training.progressed(turn, event)
        case TrainingFinished() as event:
            training.finished(turn, event)
        case TrainingFailed() as event:
            training.failed(turn, event)
        case ShootFinished() as event:
            results.finished(turn, event)
        case ShootFailed() as event:
            results.failed(turn, event)
        case _:
            return False
    return True


def _from_person(turn: Turn) -> None:
    _notice_person(turn)
    match turn.incoming.event:
        case Blocked():
            turn.change(blocked=True)
        case Started() as event:
            welcome.started(turn, event)
        case PhotosSent() as event:
            intake.photos_sent(turn, event)
        case OtherSent() as event:
            guidance.other_sent(turn, event)
        case Text() as event:
            guidance.text(turn, event)
        case Command(name, argument) if name in COMMANDS:
            COMMANDS[name](turn, argument)
        case Command(name):
            guidance.unknown_command(turn, name)
        case Choice(action, argument):
            CHOICES.get(action, guidance.old_button)(turn, argument)


def _notice_person(turn: Turn) -> None:
    """Who they are by now, where their private chat is, and what expired since they wrote last."""
    if isinstance(turn.incoming.event, Blocked):
        return
    home = turn.place if turn.place.private else turn.state.home
    turn.state = replace(turn.state, person=turn.incoming.person, home=home, blocked=False)
    intake.forget_trained(turn)
    if shooting.forget_idle_adapter(turn):
        turn.answer("adapter_expired", [[button("upload")]], days=turn.rules.adapter_idle_days)
