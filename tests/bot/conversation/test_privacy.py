"""What is stored, and the way out."""

from dataclasses import replace

from bot.conversation.machine import new_state
from bot.conversation.types import (
    CancelWork,
    ForgetPerson,
    RecordConsent,
    SendExport,
    TrainingFinished,
)
from tests.bot.conversation.chat import ANNA, GROUP, HOME, RULES, Chat


def test_the_policy_can_be_read_by_anybody_and_names_what_it_must() -> None:
    chat = Chat().command("/privacy")
    for words in (
        *("biometric template", "encrypted", "24 hours", "30 days", "/deleteme", "/mydata", "AI-made"),
        *("studio@example.org", "chat service", "Base model: demo", "Nobody else can use your model"),
    ):
        assert words in chat.text
    assert chat.buttons == []
    bare = Chat(replace(RULES, operator_contact="", base_name="", retention_hours=0)).command("/privacy")
    assert "ask whoever runs this studio" in bare.text
    assert "right after a training" in bare.text


def test_mydata_lists_what_is_there_and_sends_it() -> None:
    chat = Chat().ready().command("/headshot linkedin").shot().command("/mydata")
    assert "Selfies: 8" in chat.text
    assert "from 8 selfies" in chat.text
    assert "Headshots still here: 4" in chat.text
    assert "\u2068Anna\u2069" in chat.text
    assert ("export", "") in chat.buttons
    assert chat.press("export").now_all(SendExport) == [SendExport(HOME)]
    assert "you have not agreed" in Chat().command("/mydata").text


def test_an_export_never_goes_to_a_group() -> None:
    chat = Chat().ready().press("export", place=GROUP)
    assert chat.now_all(SendExport) == [SendExport(HOME)]
    assert Chat().press("export", place=GROUP).now_all(SendExport) == []


def test_deleting_asks_once_and_gives_a_receipt() -> None:
    chat = Chat().ready().command("/headshot linkedin").shot().command("/deleteme")
    assert "cannot be undone" in chat.text
    assert chat.all(ForgetPerson) == []
    chat.press("forget_yes")
    assert chat.now_all(ForgetPerson) == [ForgetPerson()]
    assert chat.now_all(RecordConsent) == [RecordConsent(None)]
    assert "8 selfies" in chat.text
    assert "1 model" in chat.text
    assert "4 headshots" in chat.text
    assert "clear the chat yourself" in chat.text
    assert chat.state == new_state("telegram:7", ANNA)


def test_deleting_in_the_middle_of_a_training_stops_it_and_late_news_is_harmless() -> None:
    chat = Chat().ready().command("/headshot linkedin").command("/train").command("/deleteme")
    assert "will be stopped" in chat.text
    adapter, shoot = chat.adapter_id, chat.shoot_id
    chat.press("forget_yes")
    assert chat.now_all(CancelWork) == [CancelWork(adapter), CancelWork(shoot)]
    assert "2 in the making, stopped" in chat.text
    chat.happens(TrainingFinished(adapter)).shot(shoot)
    assert chat.state == new_state("telegram:7", ANNA)
    assert chat.said == []


def test_who_comes_back_is_a_stranger_with_other_ids() -> None:
    chat = Chat().ready()
    first = {selfie.id for selfie in chat.state.selfies} | {chat.adapter_id}
    chat.command("/deleteme").press("forget_yes").send(1)
    assert chat.said == ["consent"]
    chat.ready()
    assert not first & ({selfie.id for selfie in chat.state.selfies} | {chat.adapter_id})


def test_thinking_better_of_it_keeps_everything() -> None:
    chat = Chat().ready().command("/deleteme").press("forget_no")
    assert chat.state.adapter
    assert "Nothing was deleted" in chat.text


def test_an_old_button_asks_once_more() -> None:
    chat = Chat().ready().press("forget_yes")
    assert chat.said == ["delete_confirm"]
    assert chat.all(ForgetPerson) == []


def test_deleting_is_not_talked_about_in_a_group() -> None:
    assert Chat().ready().command("/deleteme", GROUP).said == ["delete_confirm", "notice_private"]
    assert Chat().command("/deleteme", GROUP).said == ["notice_start"]


def test_somebody_without_anything_can_delete_too() -> None:
    chat = Chat().command("/deleteme").press("forget_yes")
    assert chat.now_all(RecordConsent) == []
    assert chat.now_all(ForgetPerson) == [ForgetPerson()]
