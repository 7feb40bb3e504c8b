"""The function itself: who is noticed, which buttons and sentences there are, odd arguments."""

import ast
from pathlib import Path

from bot.conversation import machine
from bot.conversation.types import Blocked, Choice, TrainingFinished
from bot.texts import KEYS
from bot.texts.labels import LABELS
from tests.bot.conversation.chat import ANNA, GROUP, HOME, Chat

BOT = Path(machine.__file__).parent.parent


def test_who_blocked_the_bot_is_remembered_until_they_write_again() -> None:
    chat = Chat().training().happens(Blocked())
    assert chat.effects == ()
    assert chat.state.blocked
    chat.happens(TrainingFinished(chat.adapter_id))
    assert chat.state.blocked
    assert chat.said  # kept for them until they are back
    assert not chat.say("hi").state.blocked


def test_the_private_chat_is_remembered_and_a_group_is_not() -> None:
    chat = Chat().say("hi", GROUP)
    assert chat.state.home is None
    assert chat.say("hi").state.home == HOME
    assert chat.say("hi", GROUP).state.home == HOME


def test_a_new_name_is_noticed() -> None:
    chat = Chat()
    chat.person = type(ANNA)("telegram", "7", "Annabel", "de")
    assert chat.say("hi").state.person.name == "Annabel"


def strings(folder: Path) -> set[str]:
    return {
        node.value
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_sentence_and_every_label_is_used_somewhere() -> None:
    folders = (BOT / "conversation", BOT / "platforms")
    used = set().union(*map(strings, folders)) | {"sorry"}
    assert KEYS - used == set()
    assert set(LABELS) - used == set()


def test_every_button_there_is_has_its_handler() -> None:
    """Labels that are no action stand on buttons of another one."""
    renamed = {
        "train_again",
        "retry",
        "use_all",
        "cancel_training",
        "cancel_shoot",
        "forbid_all",
        "news",
        "number",
    }
    assert set(LABELS) - renamed <= set(machine.CHOICES)


def test_no_choice_is_refused_for_its_argument() -> None:
    for action in machine.CHOICES:
        for argument in ("", "x", "\ud800", "{0}", "9" * 400):
            chat = Chat().ready().happens(Choice(action, argument))
            assert chat.effects, action
