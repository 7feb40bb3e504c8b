"""What a person says of their headshots: "Not me" and "More like this" steer what is made next."""

from bot.conversation.results import available
from bot.conversation.turn import Turn, button, in_rows
from bot.conversation.types import Button, FinishedShoot, RecordOpinion

NUMBERS_IN_A_ROW = 5


def more_like_this(turn: Turn, argument: str) -> None:
    """A headshot that was liked, or the shoot that it is one of."""
    chosen = _chosen(turn, argument)
    if isinstance(chosen, FinishedShoot):
        turn.answer("more_like_this_which", _numbers(chosen, "more_like_this"))
    elif chosen:
        turn.do(RecordOpinion(chosen, liked=True))
        turn.answer("opinion_liked", _again(chosen), number=_number(turn, chosen))


def not_me(turn: Turn, argument: str) -> None:
    """A headshot that does not look like the person, or the shoot that it is one of."""
    chosen = _chosen(turn, argument)
    if isinstance(chosen, FinishedShoot):
        turn.answer("not_me_which", _numbers(chosen, "not_me"))
    elif chosen:
        turn.do(RecordOpinion(chosen, liked=False))
        turn.answer("opinion_disliked", _again(chosen), number=_number(turn, chosen))


def _chosen(turn: Turn, argument: str) -> str | FinishedShoot:
    """The headshot that is meant, or the shoot where that must be asked; empty where there is none, and that
    was said."""
    done = available(turn, argument.rpartition(".")[0] or argument)
    if done is None:
        return ""
    if turn.state.adapter is None or turn.state.adapter.id != done.adapter_id:
        turn.answer("opinion_too_late")
        return ""
    if argument in done.headshot_ids:
        return argument
    return done.headshot_ids[0] if len(done.headshot_ids) == 1 else done


def _number(turn: Turn, headshot_id: str) -> int:
    """As they were shown: the first is 1."""
    shown = next(done.headshot_ids for done in turn.state.finished if headshot_id in done.headshot_ids)
    return shown.index(headshot_id) + 1


def _again(headshot_id: str) -> list[list[Button]]:
    return [[button("again", headshot_id.rpartition(".")[0])]]


def _numbers(done: FinishedShoot, action: str) -> list[list[Button]]:
    """A button for each headshot, numbered as they were shown."""
    buttons = [
        button(action, headshot_id, said="number", number=number)
        for number, headshot_id in enumerate(done.headshot_ids, start=1)
    ]
    return in_rows(buttons, NUMBERS_IN_A_ROW)
