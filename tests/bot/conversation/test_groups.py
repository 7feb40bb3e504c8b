"""Groups: each person decides for themselves, and can take it back."""

from bot.conversation.types import StartShoot
from tests.bot.conversation.chat import GROUP, Chat


def test_allowing_and_taking_it_back() -> None:
    chat = Chat().ready().command("/start group_-100")
    assert chat.buttons == [("allow_group", "-100"), ("forbid_group", "-100")]
    chat.press("allow_group", "-100").press("allow_group", "-100")
    assert chat.state.open_groups == ("-100",)
    assert ("forbid_group", "") in chat.command("/status").buttons
    chat.press("forbid_group", "-200")
    assert chat.state.open_groups == ("-100",)
    chat.press("forbid_group")
    assert chat.state.open_groups == ()
    assert chat.command("/headshot linkedin", GROUP).now_all(StartShoot)[0].place.private


def test_one_group_does_not_open_another() -> None:
    chat = Chat().ready().press("allow_group", "-200").command("/headshot linkedin", GROUP)
    assert chat.now_all(StartShoot)[0].place.private


def test_ids_that_no_button_can_carry_are_refused() -> None:
    for odd in ("", "x" * 100):
        assert Chat().ready().press("allow_group", odd).said == ["group_not_this"]
        assert Chat().ready().command(f"/start group_{odd}").said == ["group_not_this"]


def test_only_so_many_groups_are_remembered() -> None:
    chat = Chat().ready()
    for number in range(60):
        chat.press("allow_group", f"-{number}")
    assert len(chat.state.open_groups) == 50
    assert "-59" in chat.state.open_groups
