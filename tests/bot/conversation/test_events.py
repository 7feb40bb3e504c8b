"""What happened is compared and stored by value."""

import dataclasses

import pytest
from pydantic import TypeAdapter

from bot.conversation import events
from bot.conversation.types import FileRef, Incoming, PhotosSent
from tests.bot.conversation.chat import ANNA, HOME


def test_every_event_is_frozen() -> None:
    classes = [
        each for each in vars(events).values() if isinstance(each, type) and dataclasses.is_dataclass(each)
    ]
    assert len(classes) > 15
    assert all(each.__dataclass_params__.frozen for each in classes)  # type: ignore[attr-defined]


def test_a_file_survives_json() -> None:
    files: TypeAdapter[FileRef] = TypeAdapter(FileRef)
    sent = FileRef("u", {"file_id": "f", "nested": [1, "é"]}, 5, "a.jpg", "image/jpeg")
    assert files.validate_json(files.dump_json(sent)) == sent


def test_an_answer_is_not_a_whisper_unless_the_platform_says_so() -> None:
    incoming = Incoming(ANNA, HOME, PhotosSent(()))
    assert not incoming.can_whisper
    assert incoming.reply is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        incoming.can_whisper = True  # type: ignore[misc]
