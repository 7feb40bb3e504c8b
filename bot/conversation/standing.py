"""Where a person stands, as one word and as the values and buttons that go with it. Derived, never stored."""

from enum import StrEnum
from typing import Any

from bot.conversation.turn import Turn, button, in_rows
from bot.conversation.types import Button, Selfie, State, Verdict

QUICK_STYLES = 6


class Stage(StrEnum):
    """The stages of the journey."""

    STRANGER = "stranger"  # has not agreed to the consent card as it is today
    COLLECTING = "collecting"  # too few good selfies
    ENOUGH = "enough"  # could train
    TRAINING = "training"
    READY = "ready"  # has an adapter


def stage(turn: Turn) -> Stage:
    """A running training comes before an older adapter; an adapter before newer selfies."""
    state = turn.state
    if not turn.consented:
        return Stage.STRANGER
    if state.training:
        return Stage.TRAINING
    if state.adapter:
        return Stage.READY
    return Stage.ENOUGH if len(usable(state)) >= turn.rules.min_selfies else Stage.COLLECTING


def usable(state: State) -> list[Selfie]:
    """The selfies that a training would learn from, in order of arrival."""
    return [selfie for selfie in state.selfies if selfie.usable]


def pending(state: State) -> int:
    """How many are being fetched or looked at."""
    return sum(selfie.verdict is Verdict.PENDING for selfie in state.selfies)


def in_flight(state: State) -> list[str]:
    """Ids of the training and the shoots that run."""
    trained = [state.training.adapter_id] if state.training else []
    return [*trained, *(shoot.id for shoot in state.shoots)]


def training_values(state: State) -> dict[str, Any]:
    """The training in flight, for texts; an empty stage where there is none."""
    training = state.training
    return {
        "training_stage": training.stage.value if training else "",
        "fraction": training.fraction if training else 0.0,
        "eta_seconds": training.eta_seconds if training else None,
        "ahead": training.ahead if training else 0,
    }


def standing(turn: Turn) -> dict[str, Any]:
    """Values of every text that ends with what comes next."""
    return {
        "stage": stage(turn).value,
        "good": len(usable(turn.state)),
        "pending": pending(turn.state),
        "min": turn.rules.min_selfies,
        "wanted": turn.rules.wanted_selfies,
        **training_values(turn.state),
    }


def next_buttons(turn: Turn) -> list[list[Button]]:
    """What a person would press next."""
    match stage(turn):
        case Stage.STRANGER:
            return [[button("start")]]  # agreeing stands below its card only
        case Stage.COLLECTING:
            return [[button("upload")]]
        case Stage.ENOUGH:
            return [[train_button(turn), button("upload")]]
        case Stage.TRAINING:
            return [cancel_training(turn.state)]
        case Stage.READY:
            return style_buttons(turn)
    raise AssertionError("unreachable")


def next_training(turn: Turn) -> str:
    """The id of the adapter that the next training makes."""
    return turn.new_id("adapter", turn.state.trainings_started + 1)


def train_button(turn: Turn, said: str = "train", action: str = "train", **values: object) -> Button:
    """A button that starts the next training, and none after it."""
    return button(action, next_training(turn), said, **values)


def cancel_training(state: State) -> list[Button]:
    """A row with the button that stops the training."""
    return [button("cancel", state.training.adapter_id)] if state.training else []


def style_buttons(turn: Turn) -> list[list[Button]]:
    """The styles to offer first, the last one used before all."""
    last = turn.styles.get(turn.state.last_style)
    offered = dict.fromkeys([*([last] if last else []), *turn.styles.popular])
    quick = [button("style", style.id, label=style.label) for style in list(offered)[:QUICK_STYLES]]
    return [*in_rows(quick, 3), [button("styles")]]
