"""What is remembered is stored as JSON, also by older and newer releases."""

import pytest
from pydantic import TypeAdapter

from bot.conversation.types import Selfie, State, Verdict
from tests.bot.conversation.chat import Chat

STATES: TypeAdapter[State] = TypeAdapter(State)


@pytest.mark.parametrize(
    "chat",
    [
        Chat(),
        Chat().enough(),
        Chat().training(),
        Chat().ready().command("/headshot office, 2").shot(),
        Chat().ready().press("allow_group", "-1").command("/headshot linkedin").command("/deleteme"),
    ],
)
def test_what_is_remembered_survives_json(chat: Chat) -> None:
    assert STATES.validate_json(STATES.dump_json(chat.state)) == chat.state


def test_a_state_of_an_older_release_is_read() -> None:
    old = {"person_id": "telegram:7", "person": {"platform": "telegram", "user_id": "7"}, "selfies_seen": 3}
    assert STATES.validate_python(old).selfies_seen == 3


@pytest.mark.parametrize(
    ("verdict", "overridden", "usable"),
    [
        (Verdict.ACCEPTED, False, True),
        (Verdict.DOUBTFUL, False, False),
        (Verdict.DOUBTFUL, True, True),
        (Verdict.REFUSED, True, False),
        (Verdict.PENDING, True, False),
    ],
)
def test_only_soft_problems_can_be_overruled(verdict: Verdict, overridden: bool, usable: bool) -> None:
    assert Selfie("p1", 1, verdict, overridden=overridden).usable is usable
