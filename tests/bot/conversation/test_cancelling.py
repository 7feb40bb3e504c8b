"""Stopping: the one thing that runs, or a choice; never somebody else's."""

from bot.conversation.types import CancelWork, ShootFinished, StartShoot
from tests.bot.conversation.chat import Chat


def test_nothing_runs() -> None:
    assert Chat().command("/cancel").said == ["nothing_running"]


def test_one_thing_is_stopped_at_once() -> None:
    chat = Chat().ready().command("/headshot linkedin")
    chat.command("/cancel")
    assert chat.now_all(CancelWork) == [CancelWork(chat.shoot_id)]
    assert "Stopped: LinkedIn" in chat.text
    assert chat.happens(ShootFinished(chat.shoot_id, ("x",))).effects == ()


def test_of_several_the_person_chooses() -> None:
    chat = Chat().ready().command("/train").command("/headshot linkedin").command("/headshot office, smile")
    chat.command("/cancel")
    assert chat.now_all(CancelWork) == []
    assert chat.labels == ["The training", "LinkedIn", "Office, smile"]
    first = chat.all(StartShoot)[0].shoot_id
    assert chat.press("cancel", first).now_all(CancelWork) == [CancelWork(first)]
    assert chat.press("cancel", first).said == ["cancel_gone"]
    assert chat.press("cancel", chat.adapter_id).now_all(CancelWork) == [CancelWork(chat.adapter_id)]


def test_an_unknown_id_is_harmless() -> None:
    chat = Chat().training().press("cancel", "a-somebody-else")
    assert chat.said == ["cancel_gone"]
    assert chat.state.training
