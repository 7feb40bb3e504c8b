"""Selfies: kept once each, in private only, judged on one card."""

from dataclasses import replace

import pytest

from bot.conversation.turn import SETTLE_SECONDS
from bot.conversation.types import (
    DropSelfies,
    FileRef,
    KeepSelfie,
    PhotosSent,
    Place,
    Say,
    SelfieJudged,
    SelfieLost,
    SelfiesJudged,
    Verdict,
)
from tests.bot.conversation.chat import GROUP, RULES, Chat, photo


def test_an_album_is_one_card() -> None:
    chat = Chat().agreed().send(1, 2, 3)
    assert [keep.number for keep in chat.now_all(KeepSelfie)] == [1, 2, 3]
    for number in (4, 5):
        chat.send(number)
    chat.judge()
    assert {say.card for say in chat.all(Say)[3:]} == {"intake"}
    assert "Your selfies: 5 of 15 good" in chat.text
    assert "✅ 1-5" in chat.text
    assert "at least 3 more" in chat.text


def test_the_same_photo_is_recognised() -> None:
    chat = Chat().agreed().send(1).send(1)
    assert chat.now_all(KeepSelfie) == []
    assert "1 photo came a second time" in chat.text


def test_verdicts_say_what_to_do_instead() -> None:
    chat = Chat().agreed().send(1, 2, 3, 4)
    chat.judge(Verdict.REFUSED, "several_faces", last=1).judge(Verdict.DOUBTFUL, "too_dark", last=2)
    assert "❌ 4: I see more than one face. Send one of you alone" in chat.text
    assert "🟡 2, 3: rather dark. Turn your face to a window" in chat.text
    assert ("use_anyway", "2") in chat.buttons
    assert ("use_anyway", "all") in chat.buttons
    assert "train" not in chat.actions


def test_a_doubtful_photo_can_be_used_anyway_and_counts() -> None:
    chat = Chat().agreed().send(*range(1, 9)).judge(Verdict.DOUBTFUL, "blurred", last=2).judge()
    assert "train" not in chat.actions
    chat.press("use_anyway", 7).press("use_anyway", 8)
    assert "8 of 15 good" in chat.text
    assert "train" in chat.actions
    assert chat.press("use_anyway", 8).said == ["selfie_not_doubtful"]


def test_all_doubtful_ones_can_be_used_at_once() -> None:
    chat = Chat().agreed().send(*range(1, 9)).judge(Verdict.DOUBTFUL, "blurred").press("use_anyway", "all")
    assert "8 of 15 good" in chat.text


def test_a_refused_photo_cannot_be_forced() -> None:
    chat = Chat().agreed().send(1).judge(Verdict.REFUSED, "no_face").press("use_anyway", 1)
    assert chat.said == ["selfie_not_doubtful"]
    assert not chat.state.selfies[0].usable


def test_a_later_look_may_change_an_earlier_verdict() -> None:
    chat = Chat().agreed().send(1, 2).judge()
    chat.happens(SelfiesJudged((SelfieJudged(chat.state.selfies[0].id, Verdict.REFUSED, ("someone_else",)),)))
    assert "❌ 1: perhaps somebody else" in chat.text


def test_verdicts_on_unknown_photos_and_the_same_verdict_twice_say_nothing() -> None:
    chat = Chat().agreed().send(1).judge()
    again = SelfiesJudged((SelfieJudged(chat.state.selfies[0].id, Verdict.ACCEPTED),))
    assert chat.happens(again).effects == ()
    assert chat.happens(SelfiesJudged((SelfieJudged("p-gone", Verdict.REFUSED),))).effects == ()


def test_forty_photos_at_once_work_and_what_is_too_many_is_said() -> None:
    chat = Chat().agreed().send(*range(1, 41))
    assert len(chat.now_all(KeepSelfie)) == 25
    assert "I take at most 25: 15 photos left out" in chat.text
    assert len(chat.now_all(Say)) == 1


def test_refused_photos_make_room() -> None:
    chat = Chat().agreed().send(*range(1, 26)).judge(Verdict.REFUSED, "no_face", last=10).judge()
    assert len(chat.send(*range(30, 50)).now_all(KeepSelfie)) == 10


def test_refused_photos_do_not_pile_up() -> None:
    chat = Chat().agreed()
    for round_number in range(4):
        chat.send(*range(100 * round_number, 100 * round_number + 20)).judge(Verdict.REFUSED, "no_face")
    assert len(chat.state.selfies) <= 2 * RULES.max_selfies
    assert chat.all(DropSelfies)


def test_a_file_that_is_too_large_is_not_even_fetched() -> None:
    chat = Chat().agreed().happens(PhotosSent((photo(1, 21 * 1024 * 1024), photo(2, 20 * 1024 * 1024))))
    assert [keep.file.unique_id for keep in chat.now_all(KeepSelfie)] == ["file-2"]
    assert "1 photo came as a file over 20 MB" in chat.text


@pytest.mark.parametrize(
    ("reason", "words"),
    [("gone", "lost on the way"), ("too_large", "too large a file"), ("?", "lost on the way")],
)
def test_a_lost_photo_is_said(reason: str, words: str) -> None:
    chat = Chat().agreed().send(1)
    chat.happens(SelfieLost(chat.state.selfies[0].id, reason))
    assert words in chat.text


def test_a_lost_photo_can_be_sent_again() -> None:
    chat = Chat().agreed().send(1)
    lost = chat.state.selfies[0].id
    chat.happens(SelfieLost(lost, "gone")).send(1)
    assert chat.now_all(DropSelfies) == [DropSelfies((lost,))]
    (keep,) = chat.now_all(KeepSelfie)
    assert keep.selfie_id != lost
    assert keep.number == 2
    late = SelfiesJudged((SelfieJudged(lost, Verdict.ACCEPTED),))
    assert chat.happens(late).effects == ()


def test_photos_in_a_group_are_declined_with_the_way_to_the_private_chat() -> None:
    chat = Chat().agreed().send(1, place=GROUP)
    assert chat.said == ["selfies_private"]
    assert chat.buttons == [("private", "selfies")]
    assert chat.all(KeepSelfie) == []


def test_a_form_that_only_the_person_sees_is_private_wherever_it_was_opened() -> None:
    chat = Chat(place=Place("discord", "server", private=False), can_whisper=True).agreed().send(1)
    assert len(chat.now_all(KeepSelfie)) == 1
    assert all(say.whisper for say in chat.all(Say))


def test_a_photo_can_be_taken_out() -> None:
    chat = Chat().agreed().send(1, 2)
    first = chat.state.selfies[0].id
    chat.command("/remove 1")
    assert chat.now_all(DropSelfies) == [DropSelfies((first,))]
    assert "Photo 1 is out" in chat.text
    assert "1: I am looking" not in chat.text
    assert "I have no photo \u20681\u2069" in chat.command("/remove 1").text
    assert "/remove 3" in chat.command("/remove").text
    assert "no photo" in chat.command("/remove \u202e{x}").text
    assert [selfie.number for selfie in chat.state.selfies] == [2]
    assert chat.send(1).now_all(KeepSelfie)[0].number == 3


def test_the_card_goes_below_new_photos_and_stays_there_for_their_verdicts() -> None:
    chat = Chat().agreed()
    (card,) = chat.send(1).now_all(Say)
    assert (card.card, card.below_after) == ("intake", SETTLE_SECONDS)
    (card,) = chat.judge().now_all(Say)
    assert (card.card, card.below_after) == ("intake", None)


def test_what_was_not_taken_is_told_anew_after_a_while() -> None:
    chat = Chat().agreed().send(1).send(1)
    assert "1 photo came a second time" in chat.text
    chat.now += 3600
    assert "a second time" not in chat.send(2).text


def test_selfies_shows_the_card_again_at_the_bottom_and_at_once() -> None:
    chat = Chat().agreed().send(1).judge().command("/selfies")
    (card,) = chat.now_all(Say)
    assert (card.key, card.card, card.below_after) == ("intake", "intake", 0.0)
    chat.command("/selfies", GROUP)
    assert chat.said == ["intake", "notice_private"]
    assert chat.now_all(Say)[0].to.private


def test_selfies_of_a_training_are_gone_some_time_after_it() -> None:
    chat = Chat().ready().send(50)
    trained = tuple(selfie.id for selfie in chat.state.selfies[:8])
    chat.now += 25 * 3600
    chat.command("/status")
    assert chat.now_all(DropSelfies) == [DropSelfies(trained)]
    assert [selfie.number for selfie in chat.state.selfies] == [9]
    assert chat.command("/status").now_all(DropSelfies) == []


def test_a_card_about_many_bad_photos_fits_every_platform() -> None:
    from bot.texts import TEXT_MAX
    from bot.texts.problems import PROBLEMS

    chat = Chat(replace(RULES, max_selfies=25)).agreed().send(*range(1, 26))
    codes = list(PROBLEMS)
    chat.happens(
        SelfiesJudged(
            tuple(
                SelfieJudged(
                    selfie.id,
                    Verdict.DOUBTFUL if index % 2 else Verdict.REFUSED,
                    (codes[index % len(codes)],),
                )
                for index, selfie in enumerate(chat.state.selfies)
            )
        )
    )
    assert len(chat.text) < TEXT_MAX
    assert "Please send at least 8 more" in chat.text


def test_the_same_file_of_another_person_has_another_id() -> None:
    anna, ben = Chat().agreed().send(1), Chat()
    ben.person = replace(ben.person, user_id="8")
    ben.__post_init__()
    ben.agreed().send(1)
    assert anna.state.selfies[0].id != ben.state.selfies[0].id


def test_a_file_with_an_odd_name_is_taken() -> None:
    chat = Chat().agreed().happens(PhotosSent((FileRef("\ud800{0}\u202e", {}),)))
    assert len(chat.now_all(KeepSelfie)) == 1
