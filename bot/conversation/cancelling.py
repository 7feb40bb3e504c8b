"""Stopping what is in flight."""

from bot.conversation import results, shooting, training
from bot.conversation.shooting import wish_in_words
from bot.conversation.standing import in_flight
from bot.conversation.turn import Turn, button


def cancel_command(turn: Turn, _: str) -> None:
    """/cancel: the one thing that runs, or a choice."""
    state = turn.state
    running = in_flight(state)
    if not running:
        turn.answer("nothing_running")
    elif len(running) == 1:
        cancel(turn, running[0])
    else:
        buttons = [
            *([[button("cancel", state.training.adapter_id, "cancel_training")]] if state.training else []),
            *(
                [button("cancel", shoot.id, "cancel_shoot", wish=wish_in_words(turn, shoot.wish))]
                for shoot in state.shoots
            ),
        ]
        turn.answer("cancel_choose", buttons)


def cancel(turn: Turn, subject_id: str) -> None:
    """The button: a training or a shoot of this person; another's is none of theirs."""
    state = turn.state
    shoot = next((each for each in state.shoots if each.id == subject_id), None)
    if state.training and state.training.adapter_id == subject_id:
        training.cancel(turn)
    elif shoot:
        shooting.cancel(turn, shoot)
        results.drop_outdated(turn)
    else:
        turn.answer("cancel_gone")
