"""A stored event, as JSON, turned into an `Incoming`. Pure.

Photos count only where they came through a command or a form. What hangs on a direct message is never looked
at: Discord's policy keeps message content out of the training of models.
"""

from typing import Any

from bot.conversation.types import (
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
from bot.platforms.discord.capturing import BUTTON, COMMAND, FORM, NAME

MESSAGE_PHOTO = "discord_message_photo"  # `OtherSent.what` of a photo that must come by the form instead
IMAGE_TYPES = ("jpeg", "jpg", "png", "webp", "heic", "heif", "avif")
DETAILS = "details"  # the option of /headshot for everything beside the style
_OTHER = {"application/pdf": "pdf", "image/gif": "animation"}


def translate(payload: dict[str, Any]) -> Incoming | None:
    """What happened, or None if nobody needs to know."""
    event = _event(payload)
    if event is None:
        return None
    user, place = payload["user"], payload["place"]
    return Incoming(
        Person(NAME, user["id"], user["name"], user["language"]),
        Place(NAME, place["chat_id"], place["private"], place["title"]),
        event,
        can_whisper=not place["private"],
        reply=payload.get("reply"),
    )


def _event(payload: dict[str, Any]) -> Event | None:
    kind = payload["kind"]
    if kind == COMMAND:
        return _command(payload)
    if kind == BUTTON:
        return _pressed(payload["custom_id"])
    return _files(payload["files"]) if kind == FORM else _message(payload)


def _command(payload: dict[str, Any]) -> Event | None:
    if payload["files"]:
        return _files(payload["files"])
    options = dict(payload["options"])
    details = str(options.pop(DETAILS, "") or "").strip()
    words = " ".join(str(value).strip() for value in options.values() if value)
    argument = ", ".join(part for part in (words, details) if part)
    name = str(payload["name"]).lower()
    return Started(argument) if name == "start" else Command(name, argument)


def _pressed(custom_id: str) -> Event | None:
    version, _, rest = custom_id.partition(":")
    action, _, argument = rest.partition(":")
    return Choice(action, argument) if version == "v1" else Choice(custom_id)  # nobody's action: too old


def _files(files: list[dict[str, Any]]) -> Event | None:
    """All of them where one is a picture: each gets its own verdict, also those that are none."""
    if not files:
        return None
    if not any(_is_image(file) for file in files):
        return OtherSent(_kind(files[0]["content_type"]))
    return PhotosSent(
        tuple(
            FileRef(
                file["id"],
                {"url": file["url"]},
                int(file["size"]),
                name=file["filename"],
                mime=file["content_type"],
            )
            for file in files
        )
    )


def _message(payload: dict[str, Any]) -> Event | None:
    files = payload["files"]
    if any(_is_image(file) for file in files):
        return OtherSent(MESSAGE_PHOTO)
    if files:
        return OtherSent(_kind(files[0]["content_type"]))
    if payload["text"]:
        return Text(payload["text"])
    return OtherSent("sticker") if payload["stickers"] else None


def _is_image(file: dict[str, Any]) -> bool:
    """By type, or by name where an app does not know the type (HEIC and AVIF on some)."""
    kind = str(file["content_type"]).split(";")[0]
    if kind.startswith("image/"):
        return kind != "image/gif"
    suffix = str(file["filename"]).lower().rpartition(".")[2]
    return kind in ("", "application/octet-stream") and suffix in IMAGE_TYPES


def _kind(content_type: str) -> str:
    kind = content_type.split(";")[0]
    family = kind.partition("/")[0]
    return _OTHER.get(kind) or (family if family in ("video", "audio") else "file")
