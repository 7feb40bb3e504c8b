"""Help: what there is, where a person stands, and answers to what is no request."""

from bot.conversation.commands import COMMANDS
from bot.conversation.shooting import ARGUMENT_MAX_BYTES, wish_in_words
from bot.conversation.standing import (
    Stage,
    cancel_training,
    next_buttons,
    stage,
    standing,
    train_button,
    usable,
)
from bot.conversation.turn import Turn, button, in_rows
from bot.conversation.types import Button, OtherSent, Text
from bot.styles import StyleRequest

PARTS = (("studio", "outside"), ("work", "professions"))  # two messages: a message holds so many buttons


def help_command(turn: Turn, _: str) -> None:
    """/help"""
    commands = [
        [each.name, f"[{each.argument}]" if each.argument else "", each.description] for each in COMMANDS
    ]
    turn.answer("help", next_buttons(turn), commands=commands, **standing(turn))


def styles(turn: Turn, _: str) -> None:
    """/styles: all of them, with a button each."""
    for part in PARTS:
        members = [[style for style in turn.styles.styles if style.group == group] for group in part]
        buttons = [button("style", each.id, label=each.label) for group in members for each in group]
        turn.answer(
            "styles",
            in_rows(buttons, 3),
            groups=[
                [name, [[each.label, each.description] for each in group]]
                for name, group in zip(part, members, strict=True)
            ],
            last=part == PARTS[-1],
        )


def status(turn: Turn, _: str) -> None:
    """/status: all that runs and all that is there."""
    state, rules = turn.state, turn.rules
    turn.answer(
        "status",
        _status_buttons(turn),
        trained_at=state.adapter.trained_at if state.adapter else None,
        shoots=[[shoot.count, wish_in_words(turn, shoot.wish)] for shoot in state.shoots],
        shoots_left=turn.left_today(state.recent, rules.shoots_per_day),
        trainings_left=turn.left_today(state.recent_trainings, rules.trainings_per_day),
        groups=len(state.open_groups),
        **standing(turn),
    )


def text(turn: Turn, event: Text) -> None:
    """Plain words: a style by its name is understood, for the rest there is a hint."""
    wish = turn.styles.parse(event.text)
    if isinstance(wish, StyleRequest) and wish.style and turn.state.adapter and not wish.unsafe:
        words = wish.text if len(wish.text.encode()) <= ARGUMENT_MAX_BYTES else wish.style
        offered = wish_in_words(turn, words)
        buttons = [[button("style", words, label=offered)], [button("styles")]]
        turn.answer("style_offer", buttons, wish=offered)
    else:
        turn.answer("hint", next_buttons(turn), **standing(turn))


def unknown_command(turn: Turn, name: str) -> None:
    """A command that there is not."""
    turn.answer("unknown_command", next_buttons(turn), typed=f"/{name}")


def old_button(turn: Turn, _: str) -> None:
    """A button of another release."""
    turn.answer("old_button", next_buttons(turn))


def other_sent(turn: Turn, event: OtherSent) -> None:
    """No photo, or one that must come another way."""
    message_photo = event.what.endswith("message_photo") and turn.consented
    buttons = [[button("upload")]] if message_photo else next_buttons(turn)
    turn.answer("other_sent", buttons, what=event.what, **standing(turn))


def _status_buttons(turn: Turn) -> list[list[Button]]:
    state = turn.state
    stops = [
        button("cancel", each.id, "cancel_shoot", wish=f"✕ {wish_in_words(turn, each.wish)}")
        for each in state.shoots
    ]
    enough = len(usable(state)) >= turn.rules.min_selfies and not state.training
    retrain = [[train_button(turn, "train_again")]] if stage(turn) is Stage.READY and enough else []
    closing = [[button("forbid_group", "", "forbid_all")]] if state.open_groups else []
    running = [cancel_training(state)] if state.training else next_buttons(turn)[:2]
    return [*in_rows(stops, 1)[:1], *running, *retrain, *closing]
