"""The diagram of the conversation (`docs/conversation.mmd`), drawn from what the machine does.

Somebody is put into each stage, everything that may happen happens to them, and where that leads is an arrow.
"""

from dataclasses import replace

from bot.conversation.machine import CHOICES, COMMANDS, advance
from bot.conversation.standing import Stage, next_training, stage
from bot.conversation.turn import Turn
from bot.conversation.types import (
    Adapter,
    Choice,
    Command,
    Event,
    FileRef,
    Incoming,
    Person,
    PhotosSent,
    Place,
    Rules,
    Selfie,
    SelfieJudged,
    SelfiesJudged,
    Shoot,
    ShootFailed,
    ShootFinished,
    Started,
    State,
    Training,
    TrainingFailed,
    TrainingFinished,
    TrainingStage,
    Verdict,
)
from bot.styles import Catalogue

_RULES = Rules(min_selfies=2, wanted_selfies=3)
_NOW = 1_000_000.0
_PERSON = Person("telegram", "1")
_HOME = Place("telegram", "1", private=True)
_NAMES = {
    Stage.STRANGER: "not agreed yet",
    Stage.COLLECTING: "collecting selfies",
    Stage.ENOUGH: "enough selfies",
    Stage.TRAINING: "training",
    Stage.READY: "model ready",
}


def mermaid(styles: Catalogue) -> str:
    """The diagram as a Mermaid state diagram."""
    arrows: dict[tuple[Stage, Stage], list[str]] = {}
    for name, event in _events(styles).items():
        for begin, state in _people().items():
            after, _ = advance(state, Incoming(_PERSON, _HOME, event), _NOW, rules=_RULES, styles=styles)
            end = stage(Turn(after, Incoming(_PERSON, _HOME, event), _NOW, _RULES, styles))
            if end is not begin:
                arrows.setdefault((begin, end), []).append(name)
    lines = [
        "%% Drawn from the conversation by bot/conversation/diagram.py; a test compares the two.",
        "stateDiagram-v2",
        *(f'    state "{label}" as {each.value}' for each, label in _NAMES.items()),
        f"    [*] --> {Stage.STRANGER.value}",
        *(
            f"    {begin.value} --> {end.value}: {', '.join(sorted(set(names)))}"
            for (begin, end), names in sorted(arrows.items())
        ),
    ]
    return "\n".join(lines) + "\n"


def _people() -> dict[Stage, State]:
    """Somebody in each stage."""
    good = tuple(Selfie(f"p{number}", number, Verdict.ACCEPTED) for number in (1, 2))
    looked_at = Selfie("p3", 3)
    agreed = State("telegram:1", _PERSON, _HOME, consent_version=_RULES.consent_version, consent_at=1.0)
    enough = replace(agreed, selfies=good, selfies_seen=3, confirming_deletion=True)
    shoot = Shoot("s1", "linkedin", 1, _HOME, 1.0, wish="linkedin", adapter_id="a1")
    training = Training("a1", TrainingStage.TRAINING, 1.0, place=_HOME)
    return {
        Stage.STRANGER: State("telegram:1", _PERSON, _HOME),
        Stage.COLLECTING: replace(enough, selfies=(good[0], looked_at)),
        Stage.ENOUGH: enough,
        Stage.TRAINING: replace(enough, training=training),
        Stage.READY: replace(enough, adapter=Adapter("a1", _NOW, 2, used_at=_NOW), shoots=(shoot,)),
    }


def _events(styles: Catalogue) -> dict[str, Event]:
    """Everything that may happen, by the name that stands on an arrow."""
    commands = {f"/{name}": Command(name, "1" if name == "remove" else "") for name in COMMANDS}
    agreed = Incoming(_PERSON, _HOME, Started())
    training = next_training(Turn(_people()[Stage.ENOUGH], agreed, _NOW, _RULES, styles))
    arguments = {
        **{"cancel": "a1", "drop": "1", "use_anyway": "1", "style": "linkedin"},
        **{"consent_yes": str(_RULES.consent_version), "train": training, "train_anyway": training},
    }
    engine: dict[str, Event] = {
        "selfie accepted": SelfiesJudged((SelfieJudged("p3", Verdict.ACCEPTED),)),
        "selfie refused": SelfiesJudged((SelfieJudged("p1", Verdict.REFUSED, ("blurred",)),)),
        "training finished": TrainingFinished("a1"),
        "training failed": TrainingFailed("a1", "engine_failed"),
        "headshots finished": ShootFinished("s1", ("s1.0",)),
        "model lost": ShootFailed("s1", "adapter_missing"),
    }
    return {
        "a photo": PhotosSent((FileRef("f", {}),)),
        **commands,
        **{f"[{name}]": Choice(name, arguments.get(name, "")) for name in CHOICES},
        **engine,
    }
