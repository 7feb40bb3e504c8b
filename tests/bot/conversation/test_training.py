"""Training: one at a time, from enough good selfies; nothing is lost when it fails."""

from dataclasses import replace

import pytest

from bot.conversation.types import (
    CancelWork,
    DropAdapter,
    Say,
    StartTraining,
    TrainingFailed,
    TrainingFinished,
    TrainingProgressed,
    Verdict,
)
from tests.bot.conversation.chat import GROUP, RULES, Chat


def test_training_starts_from_the_good_selfies_and_says_from_how_many() -> None:
    chat = (
        Chat().agreed().send(*range(1, 12)).judge(Verdict.REFUSED, "no_face", last=2).judge().press("train")
    )
    (start,) = chat.now_all(StartTraining)
    assert list(start.selfie_ids) == [selfie.id for selfie in chat.state.selfies[:9]]
    assert "from 9 selfies" in chat.text
    assert ("cancel", start.adapter_id) in chat.buttons


def test_the_button_leaves_the_selfies_when_a_training_starts_and_comes_back_with_newer_ones() -> None:
    chat = Chat().training()
    card = chat.now_all(Say)[0]
    assert card.card == "intake"
    assert [each.action for row in card.buttons for each in row] == ["upload"]
    assert "A training was started from the good ones." in chat.text
    chat.send(20).judge()
    assert "the newer ones are for the next one" in chat.text
    assert chat.actions == ["upload"]
    chat.happens(TrainingFinished(chat.adapter_id)).send(21).judge()
    assert "train" in chat.actions


def test_an_old_button_starts_nothing() -> None:
    chat = Chat().enough()
    (old,) = [argument for action, argument in chat.buttons if action == "train"]
    chat.press("train", old).happens(TrainingFinished(chat.adapter_id))
    for action in ("train", "train_anyway"):
        for argument in (old, ""):
            chat.press(action, argument)
            assert chat.now_all(StartTraining) == []
            assert chat.said == ["train_outdated"]
    assert len(chat.press("train").now_all(StartTraining)) == 1  # the one below that answer


def test_a_button_pressed_twice_starts_one_training() -> None:
    chat = Chat().training()
    assert chat.press("train", chat.adapter_id).said == ["training_runs"]


def test_a_button_from_before_everything_was_deleted_starts_nothing() -> None:
    chat = Chat().enough()
    (old,) = [argument for action, argument in chat.buttons if action == "train"]
    chat.command("/deleteme").press("forget_yes").enough().press("train", old)
    assert chat.said == ["train_outdated"]


def test_too_few_selfies_are_counted() -> None:
    chat = Chat().agreed().send(1, 2, 3).judge().command("/train")
    assert chat.all(StartTraining) == []
    assert "3 good selfies so far" in chat.text
    assert "5 more good selfies" in chat.text


def test_photos_that_are_being_looked_at_are_waited_for_unless_the_person_does_not_want_to() -> None:
    chat = Chat().enough().send(20).press("train")
    assert chat.all(StartTraining) == []
    assert "I am still looking at 1" in chat.text
    assert chat.labels == ["Train with 8 now"]
    assert len(chat.press("train_anyway").now_all(StartTraining)) == 1


def test_a_second_training_while_one_runs_is_answered_with_progress_and_a_way_to_stop() -> None:
    chat = Chat().training()
    chat.happens(TrainingProgressed(chat.adapter_id, "training", 0.43, 360.0)).command("/train")
    assert len(chat.all(StartTraining)) == 1
    assert "43 %, about 6 minutes left" in chat.text
    assert chat.buttons == [("cancel", chat.adapter_id)]


def test_the_card_shows_place_stage_bar_and_time_left() -> None:
    chat = Chat().training()
    card = chat.now_all(Say)[-1].card
    assert (
        "2 trainings before yours"
        in chat.happens(TrainingProgressed(chat.adapter_id, "queued", ahead=2)).text
    )
    assert (
        "getting your selfies ready"
        in chat.happens(TrainingProgressed(chat.adapter_id, "preparing")).text.lower()
    )
    chat.happens(TrainingProgressed(chat.adapter_id, "training", 0.5, 600.0))
    assert "▓▓▓▓▓▓░░░░░░ 50 %" in chat.text
    assert "About 10 minutes left" in chat.text
    assert [say.card for say in chat.now_all(Say)] == [card]


def test_progress_does_not_run_backwards() -> None:
    chat = Chat().training()
    chat.happens(TrainingProgressed(chat.adapter_id, "training", 0.5))
    assert "50 %" in chat.happens(TrainingProgressed(chat.adapter_id, "training", 0.3)).text
    assert "99 %" in chat.happens(TrainingProgressed(chat.adapter_id, "training", 7.0)).text


def test_the_end_is_a_new_message_with_styles() -> None:
    chat = Chat().training().happens(TrainingFinished(Chat().training().adapter_id, 412.0, "strong"))
    (card, news) = chat.now_all(Say)
    assert card.card == f"training:{chat.adapter_id}"
    assert news.card == ""
    assert (
        "It took about 7 minutes. I compared it with selfies that it had not seen: the likeness is strong."
        in chat.text
    )
    assert "deleted in 24 hours" in chat.text
    assert ("style", "linkedin") in chat.buttons


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("out_of_memory", "ran out of memory"),
        ("not_enough_selfies", "Send a few more"),
        ("cancelled", "stopped before the end"),
        ("base_unusable", "must fix it"),
        ("engine_failed", "Please try again"),
        ("never_heard_of", "Please try again"),
    ],
)
def test_a_failure_says_why_keeps_the_selfies_and_costs_nothing(reason: str, words: str) -> None:
    chat = Chat(replace(RULES, trainings_per_day=1)).training()
    chat.happens(TrainingFailed(chat.adapter_id, reason))
    assert words in chat.text
    assert "Your selfies are still here" in chat.text
    assert "train" in chat.actions
    assert len(chat.press("train").now_all(StartTraining)) == 1


def test_the_daily_limit_says_when_it_goes_on() -> None:
    chat = Chat(replace(RULES, trainings_per_day=1)).training()
    chat.press("cancel", chat.adapter_id).press("train")
    assert "The next one can start in about 24 hours" in chat.text
    chat.now += 86400
    assert len(chat.press("train").now_all(StartTraining)) == 1


def test_cancelling_stops_it_and_late_news_of_it_is_harmless() -> None:
    chat = Chat().training()
    adapter = chat.adapter_id
    chat.press("cancel", adapter)
    assert chat.now_all(CancelWork) == [CancelWork(adapter)]
    assert "train" in chat.actions
    assert chat.happens(TrainingProgressed(adapter, "training", 0.9)).effects == ()
    assert chat.happens(TrainingFailed(adapter, "cancelled")).effects == ()
    assert chat.happens(TrainingFinished(adapter)).effects == (DropAdapter(adapter),)
    assert chat.state.adapter is None


def test_the_same_end_twice_is_said_once() -> None:
    chat = Chat().ready()
    assert chat.happens(TrainingFinished(chat.adapter_id)).effects == ()


def test_the_old_model_serves_until_the_new_one_is_ready() -> None:
    chat = Chat().ready()
    old = chat.adapter_id
    chat.command("/train")
    assert "The model that you have stays in use until then" in chat.text
    assert chat.command("/headshot linkedin").said == ["shoot"]
    new = chat.adapter_id
    chat.happens(TrainingFinished(new))
    assert chat.all(DropAdapter) == []  # a shoot still needs it
    chat.shot()
    assert chat.now_all(DropAdapter) == [DropAdapter(old)]
    assert chat.state.adapter
    assert chat.state.adapter.id == new


def test_a_failed_retraining_keeps_the_old_model() -> None:
    chat = Chat().ready().command("/train")
    chat.happens(TrainingFailed(chat.adapter_id, "engine_failed"))
    assert "The model that you had is still there" in chat.text
    assert chat.command("/headshot linkedin").said == ["shoot"]


def test_training_asked_for_in_a_group_is_spoken_of_in_private() -> None:
    chat = Chat().enough().command("/train", GROUP)
    assert chat.said == ["intake", "training", "notice_private"]
    assert all(say.to.private for say in chat.now_all(Say)[:2])


def test_news_of_an_earlier_training_does_not_touch_the_one_that_runs() -> None:
    chat = Chat().training()
    old = chat.adapter_id
    chat.press("cancel", old).press("train")
    assert chat.adapter_id != old
    assert chat.happens(TrainingProgressed(old, "training", 0.9)).effects == ()
    assert chat.happens(TrainingFailed(old, "engine_failed")).effects == ()
    assert chat.happens(TrainingFinished(old)).effects == (DropAdapter(old),)
    assert chat.state.training
    assert chat.state.training.adapter_id == chat.adapter_id
    assert chat.state.adapter is None


def test_a_replaced_model_that_nothing_needs_is_deleted_at_once() -> None:
    chat = Chat().ready()
    old = chat.adapter_id
    chat.command("/headshot linkedin").shot()
    shoot = chat.shoot_id
    chat.command("/train")
    chat.happens(TrainingFinished(chat.adapter_id))
    assert chat.now_all(DropAdapter) == [DropAdapter(old)]
    assert chat.press("originals", shoot).said == ["originals_gone"]  # they went with it
    assert chat.press("again", shoot).said == ["shoot"]


def test_a_weak_likeness_comes_with_what_would_help() -> None:
    chat = Chat().training()
    chat.happens(TrainingFinished(chat.adapter_id, 412.0, "weak", ("from_left", "daylight", "of_tomorrow")))
    assert "the likeness is weak" in chat.text
    assert "• selfies with your face turned a little to the left side of the picture" in chat.text
    assert "• selfies in daylight" in chat.text
    assert "of_tomorrow" not in chat.text
    assert "%" not in chat.text
