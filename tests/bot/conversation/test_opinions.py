"""What people say of their headshots: asked which one, written down, and thanked for."""

from bot.conversation.types import RecordOpinion, ShootFinished, TrainingFinished
from tests.bot.conversation.chat import GROUP, Chat


def shot(count: int = 4) -> Chat:
    return Chat().ready().command("/headshot linkedin").shot(count=count)


def test_both_are_offered_below_the_headshots() -> None:
    chat = shot()
    assert ("more_like_this", chat.shoot_id) in chat.buttons
    assert ("not_me", chat.shoot_id) in chat.buttons


def test_it_is_asked_which_one_and_then_written_down() -> None:
    chat = shot()
    shoot_id = chat.shoot_id
    chat.press("not_me", shoot_id)
    assert chat.said == ["not_me_which"]
    assert chat.buttons == [("not_me", f"{shoot_id}.{n}") for n in range(4)]
    assert chat.labels == ["1", "2", "3", "4"]
    chat.press("not_me", f"{shoot_id}.2")
    assert chat.now_all(RecordOpinion) == [RecordOpinion(f"{shoot_id}.2", liked=False)]
    assert "number 3" in chat.text
    assert chat.buttons == [("again", shoot_id)]
    chat.press("more_like_this", f"{shoot_id}.0")
    assert chat.now_all(RecordOpinion) == [RecordOpinion(f"{shoot_id}.0", liked=True)]
    assert "number 1" in chat.text


def test_ten_fit_on_every_platform() -> None:
    chat = shot(count=10)
    chat.press("more_like_this", chat.shoot_id)
    assert len(chat.buttons) == 10


def test_of_a_single_one_nothing_is_asked() -> None:
    chat = shot(count=1)
    chat.press("more_like_this", chat.shoot_id)
    assert chat.now_all(RecordOpinion) == [RecordOpinion(f"{chat.shoot_id}.0", liked=True)]


def test_headshots_of_a_replaced_model_steer_nothing() -> None:
    chat = shot()
    old = chat.shoot_id
    chat.send(*range(20, 24)).judge().press("train")
    chat.happens(TrainingFinished(chat.adapter_id, 1.0, "good"))
    chat.press("not_me", f"{old}.0")
    assert chat.now_all(RecordOpinion) == []
    assert chat.said in (["opinion_too_late"], ["originals_gone"])


def test_what_is_gone_or_somebody_elses_steers_nothing() -> None:
    chat = shot()
    for argument in ("s0000000000000000.1", f"{chat.shoot_id}.9", "", "."):
        chat.press("not_me", argument)
        assert chat.now_all(RecordOpinion) == []
        assert len(chat.said) == 1
    chat.now += 48 * 3600
    chat.press("not_me", f"{chat.shoot_id}.0")
    assert chat.said == ["originals_gone"]


def test_in_a_group_it_stays_between_us() -> None:
    chat = Chat().ready().press("allow_group", GROUP.chat_id)
    chat.command("/headshot linkedin", place=GROUP).shot()
    chat.press("not_me", chat.shoot_id, place=GROUP)
    assert set(chat.said) == {"not_me_which", "notice_private"}


def test_what_could_not_be_reached_is_said() -> None:
    chat = Chat().ready().command("/headshot linkedin")
    ids = tuple(f"{chat.shoot_id}.{n}" for n in range(4))
    chat.happens(ShootFinished(chat.shoot_id, ids, 20.0, 12, 3, ("blurred", "unlike")))
    assert (
        "The best 4 of 12; 1 of them is not quite sharp and looks less like you than it should." in chat.text
    )
