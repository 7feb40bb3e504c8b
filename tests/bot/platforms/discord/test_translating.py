"""Stored events -> what the conversation gets."""

from typing import Any

import pytest

from bot.conversation.types import Choice, Command, OtherSent, PhotosSent, Started, Text
from bot.platforms.discord.translating import MESSAGE_PHOTO, translate


def payload(kind: str, **fields: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": "",
        "options": {},
        "custom_id": "",
        "files": [],
        "user": {"id": "7", "name": "Ada", "language": "en-GB"},
        "place": {"chat_id": "9", "private": False, "title": "#general"},
        "reply": {"token": "t"},
        **fields,
    }


def file(name: str, kind: str = "", size: int = 10) -> dict[str, Any]:
    return {"id": name, "url": f"http://x/{name}", "size": size, "filename": name, "content_type": kind}


def message(text: str = "", files: list[dict[str, Any]] | None = None, stickers: int = 0) -> dict[str, Any]:
    place = {"chat_id": "9", "private": True, "title": ""}
    return payload("message", text=text, files=files or [], stickers=stickers, place=place)


def event(raw: dict[str, Any]) -> object:
    found = translate(raw)
    return found.event if found else None


def test_who_where_and_how_to_answer() -> None:
    found = translate(payload("command", name="status"))
    assert found is not None
    assert (found.person.user_id, found.person.name, found.person.language) == ("7", "Ada", "en-GB")
    assert (found.place.chat_id, found.place.private, found.place.title) == ("9", False, "#general")
    assert found.can_whisper
    assert found.reply == {"token": "t"}


def test_direct_messages_are_private_and_need_no_whisper() -> None:
    found = translate(message("hi"))
    assert found is not None
    assert found.place.private
    assert not found.can_whisper


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({}, ""),
        ({"style": "linkedin"}, "linkedin"),
        ({"style": "linkedin", "details": "no tie"}, "linkedin, no tie"),
        ({"details": "no tie", "style": "linkedin"}, "linkedin, no tie"),
        ({"details": "smile"}, "smile"),
        ({"style": " צילום 👩🏽‍🎤 "}, "צילום 👩🏽‍🎤"),
    ],
)
def test_options_become_the_words_behind_a_command(options: dict[str, str], argument: str) -> None:
    assert event(payload("command", name="headshot", options=options)) == Command("headshot", argument)


def test_start_is_a_start() -> None:
    assert event(payload("command", name="start")) == Started("")


def test_photos_of_a_command_are_photos() -> None:
    found = event(
        payload("command", name="selfies", options={"photo1": "a"}, files=[file("a.jpg", "image/jpeg")])
    )
    assert isinstance(found, PhotosSent)
    assert (found.photos[0].unique_id, found.photos[0].handle) == ("a.jpg", {"url": "http://x/a.jpg"})


def test_selfies_without_photos_shows_what_there_is() -> None:
    assert event(payload("command", name="selfies")) == Command("selfies")


def test_a_form_keeps_every_file_once_one_is_a_photo() -> None:
    sent = [file("a.heic"), file("b.pdf", "application/pdf"), file("c.webp", "image/webp")]
    found = event(payload("form", files=sent))
    assert isinstance(found, PhotosSent)
    assert [photo.name for photo in found.photos] == ["a.heic", "b.pdf", "c.webp"]


@pytest.mark.parametrize(
    ("name", "kind", "what"),
    [
        ("a.pdf", "application/pdf", "pdf"),
        ("a.mp4", "video/mp4", "video"),
        ("a.gif", "image/gif", "animation"),
        ("a.zip", "application/zip", "file"),
        ("a", "", "file"),
    ],
)
def test_what_is_no_photo_is_named(name: str, kind: str, what: str) -> None:
    assert event(payload("form", files=[file(name, kind)])) == OtherSent(what)
    assert event(message(files=[file(name, kind)])) == OtherSent(what)


def test_an_empty_form_says_nothing() -> None:
    assert event(payload("form")) is None


@pytest.mark.parametrize("name", ["a.jpg", "A.HEIC", "b.avif"])
def test_photos_in_a_message_are_not_taken(name: str) -> None:
    found = event(message("my selfies", [file(name)]))
    assert found == OtherSent(MESSAGE_PHOTO) == OtherSent("discord_message_photo")


def test_words_stickers_and_nothing() -> None:
    assert event(message("hello")) == Text("hello")
    assert event(message(stickers=1)) == OtherSent("sticker")
    assert event(message()) is None


@pytest.mark.parametrize(
    ("custom_id", "choice"),
    [
        ("v1:again:abc", Choice("again", "abc")),
        ("v1:show:", Choice("show", "")),
        ("v1:style:a:b", Choice("style", "a:b")),
        ("v0:again:abc", Choice("v0:again:abc")),
        ("something", Choice("something")),
    ],
)
def test_buttons(custom_id: str, choice: Choice) -> None:
    assert event(payload("button", custom_id=custom_id)) == choice
