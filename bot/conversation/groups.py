"""Groups: whether a person's headshots may be shown in one. Each person decides for themselves."""

from bot.conversation.turn import Turn, button
from bot.conversation.types import Place

PAYLOAD = "group_"  # of the deep link into the private chat, followed by the group's chat id
OPEN_MAX = 50
ID_MAX_BYTES = 32  # of a chat id that a button can carry


def is_open(turn: Turn, place: Place) -> bool:
    """This person's headshots may be shown there."""
    return not place.private and place.chat_id in turn.state.open_groups


def offer(turn: Turn, chat_id: str) -> None:
    """Ask whether headshots may be shown in that group."""
    if not _is_id(chat_id):
        turn.answer("group_not_this")
    else:
        turn.answer("group_offer", [[button("allow_group", chat_id)], [button("forbid_group", chat_id)]])


def allow(turn: Turn, chat_id: str) -> None:
    """Show them there from now on."""
    if not _is_id(chat_id):
        return turn.answer("group_not_this")
    opened = (*(group for group in turn.state.open_groups if group != chat_id), chat_id)
    turn.change(open_groups=opened[-OPEN_MAX:])
    return turn.answer("group_allowed")


def forbid(turn: Turn, chat_id: str) -> None:
    """Show them there no more; without an id: nowhere."""
    turn.change(open_groups=tuple(group for group in turn.state.open_groups if chat_id and group != chat_id))
    turn.answer("group_forbidden")


def _is_id(chat_id: str) -> bool:
    return 0 < len(chat_id.encode("utf-8", "surrogatepass")) <= ID_MAX_BYTES
