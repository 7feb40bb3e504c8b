"""Asking for headshots: words become a shoot, or a sentence about what is missing."""

from dataclasses import replace

import pytest

from bot.conversation.types import DropAdapter, Say, ShootFailed, StartShoot
from tests.bot.conversation.chat import GROUP, RULES, Chat


@pytest.mark.parametrize(
    ("typed", "style", "count"),
    [
        ("linkedin style", "linkedin", 4),
        ("LinkedIn", "linkedin", 4),
        ("corporate, no tie, smile", "corporate", 4),
        ("2 outdoor", "outdoor", 2),
        ("café, 8", "cafe", 8),
    ],
)
def test_what_was_typed_is_made(typed: str, style: str, count: int) -> None:
    chat = Chat().ready().command(f"/headshot {typed}")
    (start,) = chat.now_all(StartShoot)
    assert (start.style, start.count, start.adapter_id) == (style, count, chat.adapter_id)
    assert "{subject}" in start.prompt
    assert chat.buttons == [("cancel", start.shoot_id)]


def test_words_that_are_not_understood_are_said_and_not_used() -> None:
    chat = Chat().ready().command("/headshot linkedin with a {subject} dragon")
    assert "I did not understand \u2068subject\u2069 and \u2068dragon\u2069; I left them out" in chat.text
    assert (
        chat.now_all(StartShoot)[0].prompt
        == Chat().ready().command("/headshot linkedin").all(StartShoot)[0].prompt
    )


def test_too_many_at_once_become_as_many_as_there_may_be() -> None:
    chat = Chat().ready().command("/headshot linkedin 20")
    assert chat.now_all(StartShoot)[0].count == 8
    assert "Making 8 headshots" in chat.text
    assert "I make at most 8 at once" in chat.text


def test_a_seed_is_kept_but_not_for_another_set() -> None:
    chat = Chat().ready().command("/headshot linkedin, seed 7")
    assert chat.now_all(StartShoot)[0].seed == 7
    chat.shot().press("again", chat.shoot_id)
    assert chat.now_all(StartShoot)[0].seed is None


def test_nothing_typed_means_the_last_style_or_a_choice() -> None:
    chat = Chat().ready().command("/headshot")
    assert chat.said == ["style_choose"]
    assert ("style", "linkedin") in chat.buttons
    chat.command("/headshot office, no tie").command("/headshot")
    assert chat.now_all(StartShoot)[0].style == "office"
    assert chat.command("/headshot smile").now_all(StartShoot)[0].style == "office"


def test_an_unknown_style_offers_the_nearest() -> None:
    chat = Chat().ready().command("/headshot linkdin")
    assert chat.all(StartShoot) == []
    assert "I do not know the style \u2068linkdin\u2069" in chat.text
    assert chat.buttons[0] == ("style", "linkedin")
    assert len(chat.press("style", "linkedin").now_all(StartShoot)) == 1


@pytest.mark.parametrize("typed", ["🙂", "لينكدإن", "{0} %s {subject}", "x" * 5000])
def test_odd_words_are_answered(typed: str) -> None:
    chat = Chat().ready().command(f"/headshot {typed}")
    assert chat.said == ["style_unknown"]
    assert len(chat.text) < 300


def test_unsafe_words_are_refused() -> None:
    chat = Chat().ready().command("/headshot linkedin nude")
    assert chat.said == ["style_unsafe"]
    assert chat.all(StartShoot) == []


def test_before_training_the_next_step_is_said() -> None:
    assert ("upload", "") in Chat().agreed().command("/headshot linkedin").buttons
    enough = Chat().enough().command("/headshot linkedin")
    assert "enough to train" in enough.text
    assert "train" in enough.actions
    running = Chat().training().command("/headshot office")
    assert "Your model is being trained" in running.text
    assert running.all(StartShoot) == []


def test_the_style_wished_for_too_early_is_offered_first_later() -> None:
    from bot.conversation.types import TrainingFinished

    chat = Chat().training().command("/headshot office")
    chat.happens(TrainingFinished(chat.adapter_id))
    assert chat.buttons[0] == ("style", "office")


def test_three_run_at_once_and_a_fourth_waits() -> None:
    chat = Chat().ready()
    for style in ("linkedin", "office", "outdoor"):
        chat.command(f"/headshot {style}")
    chat.command("/headshot cafe")
    assert len(chat.all(StartShoot)) == 3
    assert chat.said == ["shoots_too_many"]
    assert chat.labels == ["LinkedIn", "Office", "Outdoor"]
    chat.shot(chat.all(StartShoot)[0].shoot_id)
    assert chat.command("/headshot cafe").said == ["shoot"]


def test_the_daily_limit_and_a_failure_that_does_not_count() -> None:
    chat = Chat(replace(RULES, shoots_per_day=1)).ready().command("/headshot linkedin")
    chat.happens(ShootFailed(chat.shoot_id, "engine_failed"))
    assert "does not count" in chat.text
    chat.press("again", chat.shoot_id)
    assert chat.said == ["shoot"]
    assert "in about 24 hours" in chat.shot().command("/headshot linkedin").text


def test_in_a_group_headshots_come_to_the_private_chat_unless_allowed() -> None:
    chat = Chat().ready().command("/headshot linkedin", GROUP)
    assert chat.now_all(StartShoot)[0].place.private
    assert chat.said == ["shoot", "notice_headshots"]
    assert chat.buttons[-1] == ("private", "group_-100")
    chat.shot().press("allow_group", "-100").command("/headshot linkedin", GROUP)
    assert chat.now_all(StartShoot)[0].place == GROUP
    assert [say.to for say in chat.now_all(Say)] == [GROUP]


def test_a_model_that_nobody_used_for_long_is_deleted_and_that_is_said() -> None:
    chat = Chat().ready()
    chat.now += 31 * 86400
    chat.command("/headshot linkedin")
    assert chat.now_all(DropAdapter) == [DropAdapter(chat.adapter_id)]
    assert "had not used it for 30 days" in chat.text
    assert chat.all(StartShoot) == []


def test_use_keeps_a_model_alive() -> None:
    chat = Chat().ready()
    for _ in range(3):
        chat.now += 20 * 86400
        assert chat.command("/headshot linkedin").shot().said == ["shoot_over", "shoot_done"]


def test_a_button_of_an_unknown_shoot_is_harmless() -> None:
    assert Chat().ready().press("again", "s-other").said == ["shoot_unknown"]
