"""The terminal as a chat platform: what a line means, what is shown, and which files are taken."""

import io
from pathlib import Path

import pytest

from bot.conversation.types import (
    Button,
    Choice,
    Command,
    FileRef,
    OtherSent,
    PhotosSent,
    Started,
    Text,
)
from bot.errors import FetchImpossible
from bot.platforms.base import Attachment, Outgoing, RawUpdate
from bot.platforms.keyboard import ScriptedKeyboard
from bot.platforms.screen import Screen
from bot.platforms.terminal import PLACE, TerminalPlatform


class Chat:
    """A platform with a script at its keyboard."""

    def __init__(self, out_dir: Path) -> None:
        self.keyboard, self.stream, self.updates = ScriptedKeyboard(), io.StringIO(), list[RawUpdate]()
        self.platform = TerminalPlatform(
            self.keyboard, Screen(self.stream, live=False), out_dir, ("start", "headshot", "help")
        )

    async def type(self, *lines: str) -> list[object]:
        async def accept(update: RawUpdate) -> None:
            self.updates.append(update)

        for line in lines:
            self.keyboard.type(line)
        self.keyboard.leave()
        before = len(self.updates)
        await self.platform.receive(accept)
        incoming = [self.platform.translate(update.payload) for update in self.updates[before:]]
        return [each.event for each in incoming if each]


@pytest.fixture
def chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chat:
    monkeypatch.setattr("bot.platforms.terminal._QUIET_SECONDS", 0.0)
    return Chat(tmp_path / "out")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "my photos"
    folder.mkdir()
    for name in ("b.png", "a.JPG", "note.txt", "c.pdf"):
        (folder / name).write_bytes(name.encode())
    return folder


def shown(text: str, nonce: str = "n", **more: object) -> Outgoing:
    return Outgoing(nonce=nonce, user_id="you", place=PLACE, text=text, **more)  # type: ignore[arg-type]


async def test_commands_and_words(chat: Chat) -> None:
    lines = ("/start abc", "/headshot linkedin style", "/Help", "/dance", "don't worry", "  ", "42")
    assert await chat.type(*lines) == [
        Started("abc"),
        Command("headshot", "linkedin style"),
        Command("help"),
        Command("dance"),
        Text("don't worry"),
        Text("42"),
    ]
    assert len({update.key for update in chat.updates}) == 6


async def test_a_button_keeps_its_number(chat: Chat) -> None:
    yes, no = Button("I agree", "consent_yes"), Button("No", "consent_no", "x")
    await chat.platform.send([shown("May I?", buttons=((yes, no),))])
    await chat.platform.send([shown("May I, still?", "m", buttons=((no,), (yes,)))])
    assert "[1] I agree   [2] No" in chat.stream.getvalue()
    assert await chat.type("2", "1") == [Choice("consent_no", "x"), Choice("consent_yes", "")]


async def test_photos_by_path_folder_and_pattern(chat: Chat, photos: Path) -> None:
    def names(event: object) -> list[str]:
        assert isinstance(event, PhotosSent)
        return [photo.name for photo in event.photos]

    one, quoted, folder, pattern = await chat.type(
        str(photos / "a.JPG"), f"'{photos / 'a.JPG'}' '{photos / 'b.png'}'", str(photos), f"'{photos}/*.png'"
    )
    assert names(one) == ["a.JPG"]
    assert names(quoted) == ["a.JPG", "b.png"]
    assert names(folder) == ["a.JPG", "b.png"]
    assert names(pattern) == ["b.png"]


async def test_the_same_photo_has_the_same_identity(chat: Chat, photos: Path) -> None:
    (photos / "copy.jpg").write_bytes((photos / "a.JPG").read_bytes())
    (event,) = await chat.type(str(photos))
    assert isinstance(event, PhotosSent)
    ids = {photo.name: photo.unique_id for photo in event.photos}
    assert ids["a.JPG"] == ids["copy.jpg"] != ids["b.png"]


async def test_other_files_are_named(chat: Chat, photos: Path) -> None:
    assert await chat.type(str(photos / "c.pdf"), str(photos / "note.txt")) == [
        OtherSent("pdf"),
        OtherSent("file"),
    ]


async def test_a_path_without_photos_gets_a_remark_and_no_update(chat: Chat, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert await chat.type(str(tmp_path / "empty"), "./nowhere/x.jpg", "nowhere.jpg") == []
    assert chat.stream.getvalue().count("There is no photo") == 3


async def test_pictures_are_saved_once_and_never_over_others(chat: Chat, tmp_path: Path) -> None:
    first, second = Attachment("a.jpg", b"1"), Attachment("../a.jpg", b"2")
    for nonce, attachment in (("1", first), ("2", first), ("3", second)):
        await chat.platform.send([shown("", nonce, attachments=(attachment,))])
    saved = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert saved == {"a.jpg": b"1", "a-2.jpg": b"2"}
    assert str(tmp_path / "out" / "a-2.jpg") in chat.stream.getvalue()


async def test_a_card_is_brought_up_to_date(chat: Chat) -> None:
    (receipt,) = await chat.platform.send([shown("selfies\n1 looking", "first")])
    await chat.platform.send([shown("selfies\n1 good", "second", edit=receipt.message)])
    assert chat.stream.getvalue() == "┃ selfies\n┃ 1 looking\n┃ 1 good\n"


async def test_fetching_keeps_the_limit_and_says_what_is_gone(chat: Chat, photos: Path) -> None:
    file = FileRef("x", {"path": str(photos / "a.JPG")})
    assert await chat.platform.fetch(file, 5) == b"a.JPG"
    with pytest.raises(FetchImpossible, match="too_large"):
        await chat.platform.fetch(file, 4)
    (photos / "a.JPG").unlink()
    with pytest.raises(FetchImpossible, match="gone"):
        await chat.platform.fetch(file, 5)
