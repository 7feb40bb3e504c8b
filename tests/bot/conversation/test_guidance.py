"""Help, status, the catalogue, and answers to what is no request."""

import pytest

from bot.conversation.commands import COMMANDS
from bot.conversation.types import OtherSent, Say, TrainingProgressed
from bot.texts import TEXT_MAX, render
from tests.bot.conversation.chat import STYLES, Chat


def test_help_lists_every_command() -> None:
    chat = Chat().command("/help")
    for command in COMMANDS:
        assert f"/{command.name}" in chat.text
    assert "/headshot [style]" in chat.text


def test_styles_lists_all_with_a_button_each() -> None:
    chat = Chat().command("/styles")
    assert {argument for action, argument in chat.buttons if action == "style"} == {
        style.id for style in STYLES.styles
    }
    for style in STYLES.styles:
        assert f"{style.label}: {style.description}" in chat.text
    assert all(len(render(say.key, say.values)) <= TEXT_MAX for say in chat.now_all(Say))


def test_status_tells_all_that_runs() -> None:
    chat = Chat().ready().command("/train").command("/headshot office, smile")
    chat.happens(TrainingProgressed(chat.adapter_id, "queued", ahead=1)).command("/status")
    for words in (
        "8 good of 15",
        "waiting, 1 training before yours",
        "Model: trained on",
        "Making 4 headshots: Office, smile",
        "39 sets of headshots, 2 trainings",
    ):
        assert words in chat.text
    assert ("cancel", chat.shoot_id) in chat.buttons
    assert ("cancel", chat.adapter_id) in chat.buttons


def test_status_of_a_stranger_says_how_to_begin() -> None:
    chat = Chat().command("/status")
    assert "Model: none yet" in chat.text
    assert "write /start" in chat.text


def test_who_has_a_model_and_selfies_can_train_again() -> None:
    assert "train" in Chat().ready().command("/status").actions


@pytest.mark.parametrize("text", ["hello", "🙂🙂", "שלום \u202e עולם", "{0} %s {typed}", "x" * 9000])
def test_plain_words_get_a_helpful_answer(text: str) -> None:
    chat = Chat().agreed().say(text)
    assert "/help" in chat.text
    assert "at least 8 good selfies" in chat.text


def test_a_style_by_its_name_is_understood() -> None:
    chat = Chat().ready().say("corporate, no tie please")
    assert "Corporate, no tie" in chat.text
    assert chat.buttons[0] == ("style", "corporate, no tie")
    assert chat.press(*chat.buttons[0]).said == ["shoot"]
    long = "linkedin, burgundy roll neck, light grey background, laughing, glasses, half body"
    assert chat.say(long).buttons[0] == ("style", "linkedin")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("pdf", "a PDF"),
        ("video", "a video"),
        ("sticker", "a sticker"),
        ("voice", "a voice message"),
        ("odd", "a file"),
    ],
)
def test_what_is_no_photo_is_named(what: str, words: str) -> None:
    text = Chat().agreed().happens(OtherSent(what)).text
    assert f"That is {words}" in text
    assert "HEIC" in text


def test_a_photo_in_a_message_of_discord_must_come_by_the_form() -> None:
    chat = Chat().happens(OtherSent("discord_message_photo"))
    assert "did not keep this one" in chat.text
    assert "/start" in chat.text
    for chat in (Chat().agreed(), Chat().ready()):
        chat.happens(OtherSent("discord_message_photo"))
        assert "use /selfies" in chat.text
        assert chat.buttons == [("upload", "")]


def test_an_unknown_command_is_quoted_safely() -> None:
    chat = Chat().command("/fo\u202eo{typed}" + "o" * 500)
    assert "\u202e" not in chat.text
    assert "{typed}" in chat.text
    assert len(chat.text) < 200


def test_a_button_of_another_release_is_harmless() -> None:
    assert Chat().press("hocus", "pocus").said == ["old_button"]
