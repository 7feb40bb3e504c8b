"""Coming in and agreeing: nothing is kept before, and what was agreed to is versioned."""

from dataclasses import replace

import pytest

from bot.conversation.types import KeepSelfie, RecordConsent, Say
from tests.bot.conversation.chat import GROUP, RULES, Chat


def test_the_consent_card_says_what_where_how_long_and_how_to_take_it_back() -> None:
    chat = Chat().command("/start")
    for words in ("measure the face", "train", "computer of this studio", "24 hours", "30 days", "/deleteme"):
        assert words in chat.text
    for words in ("18 or older", "photos of yourself", "marked as AI-made", "Do you agree?"):
        assert words in chat.text
    assert chat.buttons == [("consent_yes", "1"), ("consent_no", "")]


def test_agreeing_is_recorded_once_and_leads_to_the_selfies() -> None:
    chat = Chat().agreed()
    assert chat.now_all(RecordConsent) == [RecordConsent(1)]
    assert "15 is best, 8 is the least" in chat.text
    assert ("upload", "") in chat.buttons
    chat.press("consent_yes")
    assert chat.now_all(RecordConsent) == []
    assert "agreed already" in chat.text


@pytest.mark.parametrize(
    "do",
    [
        lambda chat: chat.command("/headshot linkedin"),
        lambda chat: chat.command("/train"),
        lambda chat: chat.command("/selfies"),
    ],
)
def test_commands_before_consent_ask_for_it(do) -> None:
    chat = do(Chat())
    assert "I need your permission" in chat.text
    assert ("consent_yes", "1") in chat.buttons


def test_the_answered_card_keeps_its_promises_and_loses_its_buttons() -> None:
    chat = Chat().command("/start")
    (card,) = chat.now_all(Say)
    assert card.below_after == 0.0
    over = chat.press("consent_yes").now_all(Say)[0]
    assert (over.card, over.below_after, over.buttons) == (card.card, None, ())
    assert chat.text.startswith("You agreed ✓")
    assert "24 hours after a training" in chat.text
    assert "Do you agree?" not in chat.text
    (over,) = Chat().command("/start").press("consent_no").now_all(Say)
    assert (over.card, over.buttons) == (card.card, ())


def test_a_yes_below_other_promises_is_no_consent() -> None:
    for old in ("", "1"):
        chat = Chat(replace(RULES, consent_version=2)).press("consent_yes", old)
        assert chat.state.consent_version is None
        assert chat.buttons == [("consent_yes", "2"), ("consent_no", "")]


def test_a_no_to_newer_promises_says_how_to_delete_what_there_is() -> None:
    chat = Chat().enough()
    chat.rules = replace(RULES, consent_version=2)
    chat.command("/train").press("consent_no")
    assert "/deleteme" in chat.text
    assert "keep nothing" not in chat.text


def test_photos_before_consent_are_not_kept_and_that_is_said_in_one_card() -> None:
    chat = Chat().send(1, 2).send(3)
    assert chat.all(KeepSelfie) == []
    assert "keep no photo before I have your permission" in chat.text
    assert len({say.card for say in chat.history}) == 1
    assert chat.state.selfies == ()


def test_saying_no_keeps_nothing_and_a_later_no_does_not_take_consent_away() -> None:
    chat = Chat().command("/start").press("consent_no")
    assert "I keep nothing" in chat.text
    assert chat.state.consent_version is None
    chat.press("consent_yes").press("consent_no")
    assert chat.state.consent_version == 1
    assert "/deleteme" in chat.text


def test_a_new_version_of_the_promise_is_asked_about_again() -> None:
    chat = Chat().enough()
    chat.rules = replace(RULES, consent_version=2)
    chat.command("/train")
    assert "What I promise has changed" in chat.text
    chat.press("consent_yes")
    assert chat.now_all(RecordConsent) == [RecordConsent(2)]
    assert chat.command("/train").said == ["intake", "training"]


def test_links_lead_where_they_say() -> None:
    chat = Chat().agreed()
    assert "as photos or as files" in chat.command("/start selfies").text
    assert ("allow_group", "-100") in chat.command("/start group_-100").buttons
    assert "Hello again" in chat.command("/start").text
    assert "only makes sense for a group" in chat.command("/start group_").text


def test_a_stranger_is_asked_first_whatever_the_link_says() -> None:
    assert Chat().command("/start group_-100").said == ["consent"]
    assert Chat().command("/start selfies").said == ["consent"]


def test_start_in_a_group_points_to_the_private_chat() -> None:
    chat = Chat().command("/start", GROUP)
    assert chat.said == ["notice_start"]
    assert chat.buttons == [("private", "")]


def test_consent_is_not_given_in_front_of_others() -> None:
    chat = Chat().press("consent_yes", place=GROUP)
    assert chat.state.consent_version is None
