"""One turn: to whom an answer may be shown, ids, limits of a day."""

from dataclasses import replace

from bot.conversation.turn import Turn, button, in_rows, rows
from bot.conversation.types import Incoming, Place, Say, Text
from tests.bot.conversation.chat import ANNA, GROUP, HOME, RULES, START, STYLES, Chat


def turn(place: Place, *, can_whisper: bool = False, home: Place | None = None) -> Turn:
    state = replace(Chat().state, home=home)
    return (
        Turn(state, Incoming(ANNA, place, Text("")), START, RULES, STYLES)
        if not can_whisper
        else Turn(state, Incoming(ANNA, place, Text(""), can_whisper=True), START, RULES, STYLES)
    )


def said(of: Turn) -> list[tuple[Place, str, bool]]:
    return [(say.to, say.key, say.whisper) for say in of.effects if isinstance(say, Say)]


def test_in_private_an_answer_is_simply_given() -> None:
    here = turn(HOME)
    here.answer("nothing_running")
    assert said(here) == [(HOME, "nothing_running", False)]


def test_among_others_it_is_whispered_where_that_is_possible() -> None:
    here = turn(GROUP, can_whisper=True, home=HOME)
    here.answer("nothing_running")
    assert said(here) == [(GROUP, "nothing_running", True)]


def test_else_it_goes_to_the_private_chat_with_one_line_in_the_group() -> None:
    here = turn(GROUP, home=HOME)
    here.answer("nothing_running")
    here.answer("nothing_running")
    assert said(here) == [
        (HOME, "nothing_running", False),
        (GROUP, "notice_private", False),
        (HOME, "nothing_running", False),
    ]


def test_without_a_private_chat_only_the_way_there_is_shown() -> None:
    here = turn(GROUP)
    here.answer("nothing_running")
    assert said(here) == [(GROUP, "notice_start", False)]


def test_news_go_to_the_private_chat_or_are_whispered() -> None:
    with_home, without, nowhere = turn(HOME, home=HOME), turn(HOME), turn(HOME)
    with_home.news(GROUP, "nothing_running")
    without.news(GROUP, "nothing_running")
    nowhere.news(None, "nothing_running")
    assert said(with_home) == [(HOME, "nothing_running", False)]
    assert said(without) == [(GROUP, "nothing_running", True)]
    assert said(nowhere) == []


def test_ids_depend_on_the_person_the_consent_and_the_thing_only() -> None:
    here, later = turn(HOME), turn(HOME)
    later.now += 5
    assert here.new_id("photo", "k", 1) == later.new_id("photo", "k", 1)
    assert here.new_id("photo", "k", 1) != here.new_id("photo", "k", 2)
    assert here.new_id("photo", 1) != here.new_id("adapter", 1)
    later.change(consent_at=1.0)
    assert here.new_id("photo", "k", 1) != later.new_id("photo", "k", 1)
    assert len(here.new_id("shoot", 1)) == 17


def test_a_day_is_24_hours() -> None:
    here = turn(HOME)
    starts = (START - 90_000, START - 80_000, START - 10)
    assert here.of_today(starts) == starts[1:]
    assert here.left_today(starts, 2) == 0
    assert here.left_today(starts, 3) == 1
    assert here.until_next(starts) == 6400


def test_buttons_fit_every_platform() -> None:
    many = in_rows([button("style", str(n), label=f"{n}") for n in range(40)], 6)
    shown = rows([*many, []])
    assert len(shown) == 5
    assert all(len(row) == 5 for row in shown)
    assert len(button("cancel", "x", "cancel_shoot", wish="w" * 90).label) <= 40
