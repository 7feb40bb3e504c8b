"""Updates as the Bot API documents them, and what the conversation is told. No network."""

import json
from typing import Any

import pytest

from bot.conversation.types import (
    Blocked,
    Choice,
    Command,
    Event,
    FileRef,
    Incoming,
    OtherSent,
    Person,
    PhotosSent,
    Place,
    Started,
    Text,
)
from bot.platforms.telegram.translating import raw_updates, translate

ADA = {
    **{"id": 6_000_000_001, "is_bot": False, "first_name": "Ada", "last_name": "Lovelace"},
    "language_code": "en",
}
BOT = {"id": 7, "is_bot": True, "first_name": "Likeness", "username": "LikenessBot"}
PRIVATE = {"id": ADA["id"], "type": "private", "first_name": "Ada"}
GROUP = {"id": -1001, "type": "supergroup", "title": "Friends"}
KNOWN = ("start", "headshot", "status")


def message(chat: dict[str, Any] = PRIVATE, sender: dict[str, Any] = ADA, **content: Any) -> dict[str, Any]:
    return {"message_id": 5, "date": 1_790_000_000, "chat": chat, "from": sender, **content}


def read(**update: Any) -> list[Incoming]:
    """What becomes of an update on its way through the inbox."""
    raws = raw_updates({"update_id": 900, **update}, "LikenessBot")
    assert len({raw.key for raw in raws}) == len(raws)
    found = [translate(json.loads(json.dumps(raw.payload)), KNOWN) for raw in raws]
    return [incoming for incoming in found if incoming]


def events(chat: dict[str, Any] = PRIVATE, **content: Any) -> list[Event]:
    return [incoming.event for incoming in read(message=message(chat, **content))]


def size(name: str, side: int, number_of_bytes: int) -> dict[str, Any]:
    return {
        **{"file_id": name, "file_unique_id": "u" + name, "width": side, "height": side},
        "file_size": number_of_bytes,
    }


PHOTO = [size("small", 90, 900), size("large", 1280, 90_000), size("middle", 320, 9_000)]
LARGE = FileRef("ularge", {"file_id": "large"}, 90_000)


def document(name: str = "", mime: str = "") -> dict[str, Any]:
    fields = {"file_id": "d", "file_unique_id": "ud", "file_size": 7}
    return {**fields, **({"file_name": name} if name else {}), **({"mime_type": mime} if mime else {})}


def test_who_and_where() -> None:
    (incoming,) = read(message=message(text="Hello"))
    assert incoming.person == Person("telegram", "6000000001", "Ada Lovelace", "en")
    assert incoming.place == Place("telegram", "6000000001", private=True)
    (incoming,) = read(message=message(GROUP, text="/headshot"))
    assert incoming.place == Place("telegram", "-1001", private=False, title="Friends")
    topic = message(GROUP, text="/headshot", message_thread_id=4, is_topic_message=True)
    assert read(message=topic)[0].place.chat_id == "-1001_4"
    thread = message(GROUP, text="/headshot", message_thread_id=4)  # an answer, not a topic
    assert read(message=thread)[0].place.chat_id == "-1001"


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("/start", Started()),
        ("/start from_group", Started("from_group")),
        ("/start b64-eCB5", Started("x y")),
        ("/start b64-_", Started("b64-_")),
        ("/START@likenessbot  g-1001 ", Started("g-1001")),
        ("/headshot", Command("headshot")),
        ("/Headshot linkedin style", Command("headshot", "linkedin style")),
        ("/headshot@LikenessBot linkedin\nstyle", Command("headshot", "linkedin\nstyle")),
        ("/unknown", Command("unknown")),
        ("hello /headshot", Text("hello /headshot")),
        ("/home/ada/photo.jpg", Text("/home/ada/photo.jpg")),
        ("/", Text("/")),
        ("👩🏽‍🎤 שלום", Text("👩🏽‍🎤 שלום")),
    ],
)
def test_words_in_the_private_chat(text: str, event: Event) -> None:
    assert events(text=text) == [event]


def test_a_command_for_another_bot_is_not_ours() -> None:
    assert events(text="/headshot@OtherBot linkedin") == []
    assert events(GROUP, text="/headshot@OtherBot linkedin") == []


def test_the_largest_photo_counts_and_an_album_is_photos_one_by_one() -> None:
    assert events(photo=PHOTO) == [PhotosSent((LARGE,))]
    assert events(photo=PHOTO, media_group_id="77", caption="all of them") == [PhotosSent((LARGE,))]


def test_a_photo_with_a_command_below_it_is_both() -> None:
    assert events(photo=PHOTO, caption="/headshot studio") == [
        PhotosSent((LARGE,)),
        Command("headshot", "studio"),
    ]
    file = document("me.heic", "image/heic")
    assert [type(event) for event in events(document=file, caption="/status")] == [PhotosSent, Command]
    assert events(photo=PHOTO, caption="/headshot@OtherBot studio") == [PhotosSent((LARGE,))]


@pytest.mark.parametrize(
    ("name", "mime"),
    [
        ("me.jpg", "image/jpeg"),
        ("me.png", "image/png"),
        ("me.webp", "image/webp"),
        ("me.heic", "image/heic"),
        ("me.heif", "image/heif"),
        ("me.avif", "image/avif"),
        ("burst.heic", "image/heic-sequence"),
        ("IMG_1.HEIC", "application/octet-stream"),
        ("IMG_1.avif", ""),
        ("", "image/jpeg"),
    ],
)
def test_photos_sent_as_files(name: str, mime: str) -> None:
    assert events(document=document(name, mime)) == [
        PhotosSent((FileRef("ud", {"file_id": "d"}, 7, name, mime),))
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"document": document("cv.pdf", "application/pdf")}, "pdf"),
        ({"document": document("notes.txt", "text/plain")}, "file"),
        ({"document": document("photo.jpg", "text/plain")}, "file"),
        ({"document": document("x.bmp", "image/bmp")}, "file"),
        ({"document": document()}, "file"),
        ({"video": {**size("v", 640, 1), "duration": 3}}, "video"),
        (
            {"video_note": {"file_id": "n", "file_unique_id": "un", "length": 240, "duration": 3}},
            "video_note",
        ),
        ({"voice": {"file_id": "o", "file_unique_id": "uo", "duration": 3}}, "voice"),
        ({"contact": {"phone_number": "+1", "first_name": "Bob"}}, "contact"),
        ({"location": {"longitude": 1.0, "latitude": 2.0}}, "location"),
        (
            {"animation": {**size("a", 320, 1), "duration": 3}, "document": document("a.mp4", "video/mp4")},
            "animation",
        ),
        (
            {
                "sticker": {
                    **size("s", 512, 1),
                    **{"type": "regular", "is_animated": False, "is_video": False},
                }
            },
            "sticker",
        ),
    ],
)
def test_what_is_no_photo_is_named(content: dict[str, Any], what: str) -> None:
    assert events(**content) == [OtherSent(what)]


def test_a_live_photo_is_its_still_picture() -> None:
    live = {**size("live", 1280, 1), "duration": 2, "photo": PHOTO}
    assert events(photo=PHOTO, live_photo=live) == [PhotosSent((LARGE,))]


@pytest.mark.parametrize(
    "content",
    [
        {"new_chat_members": [ADA]},
        {"migrate_to_chat_id": -1002},
        {"group_chat_created": True},
        {"pinned_message": message(GROUP, text="x")},
    ],
)
def test_service_messages_are_nobodys_words(content: dict[str, Any]) -> None:
    assert events(GROUP, **content) == []


def test_in_a_group_only_what_is_meant_for_the_bot_counts() -> None:
    to_bot = {"reply_to_message": message(GROUP, BOT, text="I am ready")}
    to_ada = {"reply_to_message": message(GROUP, text="Hi")}
    assert events(GROUP, text="good morning") == []
    assert events(GROUP, photo=PHOTO) == []
    assert events(GROUP, photo=PHOTO, **to_ada) == []
    assert events(GROUP, photo=PHOTO, **to_bot) == [PhotosSent((LARGE,))]
    assert events(GROUP, text="thanks", **to_bot) == [Text("thanks")]
    assert events(GROUP, text="what is @likenessbot?") == [Text("what is @likenessbot?")]
    assert events(GROUP, text="/headshot studio") == [Command("headshot", "studio")]
    assert events(GROUP, text="/ban") == []  # some other bot's command
    assert events(GROUP, text="/ban@LikenessBot") == [Command("ban")]
    assert events(GROUP, photo=PHOTO, caption="/headshot studio") == [Command("headshot", "studio")]


def test_accounts_that_are_no_persons_are_left_alone() -> None:
    anonymous = {"id": 1087968824, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"}
    assert read(message=message(GROUP, anonymous, text="/headshot", sender_chat=GROUP)) == []
    channel = {"id": -1003, "type": "channel", "title": "News"}
    assert read(message=message(GROUP, text="/headshot", sender_chat=channel)) == []
    assert read(message=message(GROUP, BOT, text="/headshot")) == []
    assert read(channel_post=message(channel, text="/headshot")) == []


def query(data: str | None, **fields: Any) -> dict[str, Any]:
    body = {"id": "1", "from": ADA, "chat_instance": "c", "message": message(sender=BOT, text="?"), **fields}
    return {**body, **({"data": data} if data is not None else {})}


@pytest.mark.parametrize(
    ("data", "event"),
    [
        ("v1:train:", Choice("train")),
        ("v1:train", Choice("train")),
        ("v1:again:abc:2", Choice("again", "abc:2")),
        ("v0:train:", Choice("v0:train:")),  # from before an update: the conversation says so
        ("v1:allow_group:-1001_4", Choice("allow_group", "-1001_4")),
    ],
)
def test_pressed_buttons(data: str, event: Event) -> None:
    assert [incoming.event for incoming in read(callback_query=query(data))] == [event]


def test_buttons_that_we_never_make() -> None:
    assert read(callback_query=query(None, game_short_name="chess")) == []
    inline = query("v1:train:")
    del inline["message"]
    assert read(callback_query=inline) == []


def test_a_button_of_a_message_that_telegram_forgot_still_works() -> None:
    forgotten = {"chat": PRIVATE, "message_id": 5, "date": 0}
    (incoming,) = read(callback_query=query("v1:status:", message=forgotten))
    assert (incoming.event, incoming.place.private) == (Choice("status"), True)


def test_the_person_who_presses_is_the_one_who_chose() -> None:
    bob = {"id": 9, "is_bot": False, "first_name": "Bob"}
    pressed = query("v1:again:1", message=message(GROUP, BOT, text="?"), **{"from": bob})
    assert read(callback_query=pressed)[0].person == Person("telegram", "9", "Bob")


def member(chat: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    def status(value: str) -> dict[str, Any]:
        return {"user": BOT, "status": value, **({"until_date": 0} if value == "kicked" else {})}

    body = {"chat": chat, "from": ADA, "date": 1_790_000_000}
    return {**body, "old_chat_member": status(old), "new_chat_member": status(new)}


def test_blocking_is_told_and_the_rest_of_membership_is_not() -> None:
    (incoming,) = read(my_chat_member=member(PRIVATE, "member", "kicked"))
    assert (incoming.event, incoming.person.user_id) == (Blocked(), "6000000001")
    assert read(my_chat_member=member(PRIVATE, "kicked", "member")) == []
    assert read(my_chat_member=member(GROUP, "member", "kicked")) == []


def test_edits_change_nothing() -> None:
    assert read(edited_message=message(text="/headshot")) == []
