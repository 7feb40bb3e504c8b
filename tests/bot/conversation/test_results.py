"""Headshots that are ready: shown where they may be seen, again, as originals; or why there are none."""

from dataclasses import replace

import pytest

from bot.conversation.types import (
    DropAdapter,
    Place,
    Say,
    ShootFailed,
    ShootFinished,
    ShowHeadshots,
    StartShoot,
)
from tests.bot.conversation.chat import GROUP, HOME, RULES, Chat

SERVER = Place("discord", "9000", private=False, title="The team")


def shot() -> Chat:
    return Chat().ready().command("/headshot linkedin, smile").shot()


def on_a_server() -> Chat:
    """Somebody on Discord who never opened a private chat."""
    return Chat(place=SERVER, can_whisper=True).ready()


def test_headshots_come_best_first_and_then_what_to_do_next() -> None:
    chat = shot()
    assert chat.effects[1] == ShowHeadshots(
        HOME, chat.shoot_id, tuple(f"{chat.shoot_id}.{n}" for n in range(4))
    )
    assert chat.said == ["shoot_over", "shoot_done"]
    assert "LinkedIn, smile" in chat.text
    assert chat.buttons[:2] == [("again", chat.shoot_id), ("originals", chat.shoot_id)]
    assert ("styles", "") in chat.buttons


def test_the_same_end_twice_shows_nothing_twice() -> None:
    chat = shot()
    assert chat.happens(ShootFinished(chat.shoot_id, ("x",))).effects == ()
    assert chat.happens(ShootFailed(chat.shoot_id, "engine_failed")).effects == ()


def test_again_repeats_the_wish() -> None:
    chat = shot()
    first = chat.all(StartShoot)[0]
    chat.press("again", chat.shoot_id)
    again = chat.now_all(StartShoot)[0]
    assert again.prompt == first.prompt
    assert again.shoot_id != first.shoot_id


def test_originals_are_files() -> None:
    chat = shot()
    chat.press("originals", chat.shoot_id)
    assert chat.now_all(ShowHeadshots)[0].as_files
    assert chat.said == ["originals"]


def test_originals_that_are_deleted_by_now_can_be_made_again() -> None:
    chat = shot()
    chat.now += 25 * 3600
    chat.press("originals", chat.shoot_id)
    assert chat.now_all(ShowHeadshots) == []
    assert chat.buttons == [("again", chat.shoot_id)]


def test_originals_pressed_in_a_group_come_to_the_private_chat() -> None:
    chat = shot()
    chat.press("originals", chat.shoot_id, place=GROUP)
    assert chat.now_all(ShowHeadshots)[0].to == HOME
    assert chat.said == ["originals", "notice_private"]


def test_somebody_elses_button_shows_nothing() -> None:
    chat = shot()
    chat.press("originals", "s0123456789abcdef")
    assert chat.said == ["shoot_unknown"]
    assert chat.now_all(ShowHeadshots) == []


def test_on_a_server_only_the_person_sees_them() -> None:
    chat = on_a_server().command("/headshot linkedin")
    assert chat.now_all(Say)[0].whisper
    chat.shot()
    assert chat.now_all(ShowHeadshots)[0].to == SERVER
    assert all(effect.whisper for effect in chat.history if isinstance(effect, Say | ShowHeadshots))


def test_on_a_server_the_private_chat_gets_them_where_there_is_one() -> None:
    chat = on_a_server()
    chat.command("/help", place=replace(SERVER, chat_id="dm", private=True))
    chat.command("/headshot linkedin", place=SERVER).shot()
    assert chat.now_all(ShowHeadshots)[0].to.private


def test_in_a_group_that_was_closed_meanwhile_nothing_is_shown() -> None:
    chat = Chat().ready().press("allow_group", "-100").command("/headshot linkedin", GROUP)
    chat.press("forbid_group", "-100").shot()
    assert chat.now_all(ShowHeadshots)[0].to == HOME


def test_in_an_open_group_they_are_shown_to_all() -> None:
    chat = Chat().ready().press("allow_group", "-100").command("/headshot linkedin", GROUP).shot()
    assert chat.now_all(ShowHeadshots)[0].to == GROUP
    assert not chat.now_all(ShowHeadshots)[0].whisper


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("out_of_memory", "Ask for fewer at once"),
        ("base_unusable", "must fix it"),
        ("cancelled", "You can ask again"),
        ("engine_failed", "Please try again"),
        ("never_heard_of", "Please try again"),
    ],
)
def test_a_failure_says_why_and_offers_another_try(reason: str, words: str) -> None:
    chat = Chat().ready().command("/headshot linkedin")
    chat.happens(ShootFailed(chat.shoot_id, reason))
    assert words in chat.text
    assert ("again", chat.shoot_id) in chat.buttons
    assert chat.state.adapter


@pytest.mark.parametrize("reason", ["adapter_missing", "adapter_corrupt"])
def test_a_model_that_is_gone_is_said_and_forgotten(reason: str) -> None:
    chat = Chat().ready().command("/headshot linkedin")
    chat.happens(ShootFailed(chat.shoot_id, reason))
    assert "must be trained anew" in chat.text
    assert chat.now_all(DropAdapter) == [DropAdapter(chat.adapter_id)]
    assert chat.command("/headshot linkedin").said == ["next"]


def test_only_the_newest_shoots_are_remembered() -> None:
    chat = Chat(replace(RULES, shoots_per_day=100)).ready()
    for _ in range(20):
        chat.command("/headshot linkedin").shot()
    assert len(chat.state.finished) == 12
    assert chat.press("again", chat.all(StartShoot)[0].shoot_id).said == ["shoot_unknown"]
