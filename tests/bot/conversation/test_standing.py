"""Where a person stands, derived from what is remembered."""

import pytest

from bot.conversation.standing import Stage, next_buttons, stage
from bot.conversation.turn import Turn
from bot.conversation.types import Incoming, Text
from tests.bot.conversation.chat import HOME, STYLES, Chat


@pytest.mark.parametrize(
    ("chat", "expected", "first"),
    [
        (Chat(), Stage.STRANGER, "start"),
        (Chat().agreed(), Stage.COLLECTING, "upload"),
        (Chat().enough(), Stage.ENOUGH, "train"),
        (Chat().training(), Stage.TRAINING, "cancel"),
        (Chat().ready(), Stage.READY, "style"),
        (Chat().ready().command("/train"), Stage.TRAINING, "cancel"),
    ],
)
def test_stages_and_what_comes_next(chat: Chat, expected: Stage, first: str) -> None:
    turn = Turn(chat.state, Incoming(chat.person, HOME, Text("")), chat.now, chat.rules, STYLES)
    assert stage(turn) is expected
    assert next_buttons(turn)[0][0].action == first
