"""A stored Telegram update, as JSON, turned into an `Incoming`. Pure.

In a private chat everything counts. In a group only what is meant for the bot does: its commands, its
buttons, answers to its messages and messages that name it; what people say to each other is none of its
business. Edits are not subscribed to: a photo that was replaced stays in the set until it is dropped there.
"""

import re
from collections.abc import Collection
from typing import Any

from telegram import CallbackQuery, Chat, ChatMember, ChatMemberUpdated, Message, Update, User

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
from bot.platforms.base import RawUpdate
from bot.platforms.telegram.addresses import place_id, unpacked

NAME = "telegram"
IMAGE_TYPES = ("jpeg", "jpg", "png", "webp", "heic", "heif", "avif")
OTHER_KINDS = (
    *("animation", "video", "video_note", "voice", "audio", "sticker", "contact", "location", "venue"),
    *("poll", "dice", "story", "paid_media", "game", "checklist"),
)
_COMMAND = re.compile(r"/(\w{1,32})(?:@(\w+))?(?:\s+(.*))?\s*", re.ASCII | re.DOTALL)


def raw_updates(update: dict[str, Any], bot_username: str) -> list[RawUpdate]:
    """What is stored of an update. A photo with a command below it is both, under two keys."""
    key, payload = f"{NAME}:{update['update_id']}", {**update, "bot_username": bot_username}
    whole = RawUpdate(key, payload)
    message = update.get("message") or {}
    private = message.get("chat", {}).get("type") == Chat.PRIVATE
    if private and _has_image(message) and _COMMAND.fullmatch(message.get("caption", "")):
        return [whole, RawUpdate(f"{key}:caption", {**payload, "part": "caption"})]
    return [whole]


def translate(payload: dict[str, Any], known_commands: Collection[str]) -> Incoming | None:
    """What happened, or None if nobody needs to know."""
    update = Update.de_json({k: v for k, v in payload.items() if k not in ("bot_username", "part")}, None)
    if update.my_chat_member:
        return _membership(update.my_chat_member)
    if update.callback_query:
        return _pressed(update.callback_query)
    message = update.message
    if message is None or message.from_user is None or message.from_user.is_bot or message.sender_chat:
        return None  # channels and anonymous administrators are nobody's account
    reader = _Reader(message, payload.get("bot_username", ""), known_commands)
    event = reader.caption_command() if payload.get("part") == "caption" else reader.event()
    if event is None:
        return None
    return Incoming(_person(message.from_user), _place(message.chat, message), event)


class _Reader:
    """One message of a person."""

    def __init__(self, message: Message, bot_username: str, known_commands: Collection[str]) -> None:
        self.message, self.bot_username, self.known = message, bot_username.lower(), known_commands
        self.private = message.chat.type == Chat.PRIVATE
        self.words = message.text or message.caption or ""

    def event(self) -> Event | None:
        if not self.private:
            return self._command() or (self._content() if self._addressed() else None)
        if self.message.text:
            return self._command() or (None if self._for_another() else Text(self.message.text))
        return self._content()

    def caption_command(self) -> Event | None:
        return self._command()

    def _command(self) -> Event | None:
        match = _COMMAND.fullmatch(self.words)
        if not match or self._for_another():
            return None
        name, argument = match[1].lower(), (match[3] or "").strip()
        if not self.private and not match[2] and name not in self.known:
            return None  # every bot of a group gets every bare command
        return Started(unpacked(argument)) if name == "start" else Command(name, argument)

    def _for_another(self) -> bool:
        match = _COMMAND.fullmatch(self.words)
        return bool(match and match[2] and match[2].lower() != self.bot_username)

    def _addressed(self) -> bool:
        answered = self.message.reply_to_message
        sender = answered.from_user if answered else None
        answers_bot = bool(sender and (sender.username or "").lower() == self.bot_username)
        return not self._for_another() and (answers_bot or f"@{self.bot_username}" in self.words.lower())

    def _content(self) -> Event | None:
        message = self.message
        if message.text:
            return Text(message.text)
        if message.photo:
            largest = max(message.photo, key=lambda size: size.width * size.height)
            handle = {"file_id": largest.file_id}
            return PhotosSent((FileRef(largest.file_unique_id, handle, largest.file_size or 0),))
        for kind in OTHER_KINDS:
            if getattr(message, kind):
                return OtherSent(kind)
        return self._document()

    def _document(self) -> Event | None:
        document = self.message.document
        if document is None:
            return None  # a service message: somebody joined, a title changed, the group moved
        name, mime = document.file_name or "", document.mime_type or ""
        if not _is_image(name, mime):
            return OtherSent("pdf" if mime == "application/pdf" else "file")
        handle = {"file_id": document.file_id}
        return PhotosSent(
            (FileRef(document.file_unique_id, handle, document.file_size or 0, name=name, mime=mime),)
        )


def _has_image(message: dict[str, Any]) -> bool:
    document = message.get("document")
    if document and not message.get("animation"):
        return _is_image(document.get("file_name", ""), document.get("mime_type", ""))
    return bool(message.get("photo"))


def _is_image(name: str, mime: str) -> bool:
    """By type, or by name where an app sends photos as unknown bytes (it does so with HEIC and AVIF)."""
    kind = mime.removeprefix("image/").removesuffix("-sequence")
    if kind != mime:
        return kind in IMAGE_TYPES
    return mime in ("", "application/octet-stream") and name.lower().rpartition(".")[2] in IMAGE_TYPES


def _pressed(query: CallbackQuery) -> Incoming | None:
    if query.message is None or not query.data:
        return None  # of an inline message or a game: we make neither
    version, _, rest = query.data.partition(":")
    action, _, argument = rest.partition(":")
    choice = Choice(action, argument) if version == "v1" else Choice(query.data)  # nobody's action: too old
    message = query.message if isinstance(query.message, Message) else None
    return Incoming(_person(query.from_user), _place(query.message.chat, message), choice)


def _membership(change: ChatMemberUpdated) -> Incoming | None:
    """Blocked; an unblocked bot hears from the person at once, by /start."""
    if change.chat.type != Chat.PRIVATE or change.new_chat_member.status != ChatMember.BANNED:
        return None
    return Incoming(_person(change.from_user), _place(change.chat, None), Blocked())


def _person(user: User) -> Person:
    return Person(NAME, str(user.id), user.full_name, user.language_code or "")


def _place(chat: Chat, message: Message | None) -> Place:
    private = chat.type == Chat.PRIVATE
    topic = message.message_thread_id if message and message.is_topic_message and not private else None
    return Place(NAME, place_id(chat.id, topic), private, chat.title or "")
