"""An outbox item, or an album of them, as calls of the Bot API.

Telegram knows no idempotency key: when an answer is lost, the item goes out again. An edit does not double.
An item of several messages goes on where its last attempt stopped, for as long as the process lives.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from telegram import (
    Bot,
    InlineKeyboardMarkup,
    InputMediaDocument,
    InputMediaPhoto,
    LinkPreviewOptions,
)
from telegram.constants import MediaGroupLimit
from telegram.error import BadRequest, ChatMigrated, TelegramError

from bot.errors import SendImpossible
from bot.platforms.base import Attachment, Outgoing, Receipt
from bot.platforms.telegram import markup
from bot.platforms.telegram.addresses import chat_and_topic
from bot.platforms.telegram.faults import send_error

ALBUM_MAX = int(MediaGroupLimit.MAX_MEDIA_LENGTH)
UPLOAD_READ_SECONDS = 60.0  # Telegram recompresses a photo before it answers
_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)
_NO_PHOTO = ("photo_", "image_process_failed")
_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid", "there is no text")


Step = Callable[[], Awaitable[Receipt]]


class Sender:
    """Sends for one bot. `username` gives the bot's own name, which deep links need."""

    def __init__(self, bot: Bot, username: Callable[[], Awaitable[str]]) -> None:
        self._bot, self._username = bot, username
        self._steps_done: dict[str, int] = {}  # by nonce, of items that stopped on their way

    async def send(self, items: Sequence[Outgoing]) -> list[Receipt]:
        """Send one item, or pictures as one album; see `Platform.send`."""
        if not items:
            return []
        chat, topic = chat_and_topic(items[0].place.chat_id)
        try:
            return await self._to_chat(_Chat(self._bot, chat, topic), items)
        except ChatMigrated as moved:
            return await self._retry(_Chat(self._bot, moved.new_chat_id, None), items)
        except TelegramError as error:
            raise send_error(error) from None

    async def _retry(self, chat: "_Chat", items: Sequence[Outgoing]) -> list[Receipt]:
        try:
            return await self._to_chat(chat, items)
        except TelegramError as error:
            raise send_error(error) from None

    async def _to_chat(self, chat: "_Chat", items: Sequence[Outgoing]) -> list[Receipt]:
        if len(items) > 1:
            return await _album(chat, items)
        item = items[0]
        buttons = markup.keyboard(item.buttons, await self._username() if item.buttons else "")
        if item.attachments:
            return [await self._walk(item.nonce, _pictures(chat, item, buttons))]
        if item.edit and await _edited(chat, item, buttons):
            return [Receipt(item.edit)]
        receipt = await self._walk(item.nonce, _text(chat, item.text, buttons))
        if item.replaces:
            await chat.take_away(int(item.replaces))
        return [receipt]

    async def _walk(self, nonce: str, steps: Sequence[Step]) -> Receipt:
        """Take the steps that are left. Only an item of one message can be edited later."""
        receipt = Receipt()
        for number in range(self._steps_done.get(nonce, 0), len(steps)):
            receipt = await steps[number]()
            self._steps_done[nonce] = number + 1
        self._steps_done.pop(nonce, None)
        return receipt if len(steps) == 1 else Receipt()


class _Chat:
    """One chat, and the calls that put something into it."""

    def __init__(self, bot: Bot, chat_id: int, topic: int | None) -> None:
        self._bot, self._id, self._topic = bot, chat_id, topic

    async def text(self, text: str, buttons: InlineKeyboardMarkup | None) -> Receipt:
        sent = await self._bot.send_message(
            self._id,
            text,
            reply_markup=buttons,
            message_thread_id=self._topic,
            link_preview_options=_NO_PREVIEW,
        )
        return Receipt(str(sent.message_id))

    async def edit(self, message_id: int, text: str, buttons: InlineKeyboardMarkup | None) -> None:
        await self._bot.edit_message_text(
            text, self._id, message_id, reply_markup=buttons, link_preview_options=_NO_PREVIEW
        )

    async def take_away(self, message_id: int) -> None:
        """Delete a message, or its buttons where it is too old for that: worth a try, not a stop."""
        with suppress(TelegramError):
            try:
                await self._bot.delete_message(self._id, message_id)
            except BadRequest:
                await self._bot.edit_message_reply_markup(self._id, message_id)

    async def picture(
        self, picture: Attachment, caption: str, buttons: InlineKeyboardMarkup | None
    ) -> Receipt:
        """A photo, or a file; Telegram cannot turn either into a text later, so it cannot be edited."""
        common: dict[str, Any] = {
            "caption": caption or None,
            "reply_markup": buttons,
            "filename": picture.name,
            "message_thread_id": self._topic,
            "read_timeout": UPLOAD_READ_SECONDS,
        }
        if not markup.as_document(picture):
            try:
                await self._bot.send_photo(self._id, picture.data, **common)
                return Receipt()
            except BadRequest as error:
                if not error.message.lower().startswith(_NO_PHOTO):
                    raise  # else it is a picture that Telegram cannot recompress: a file still arrives
        await self._bot.send_document(self._id, picture.data, disable_content_type_detection=True, **common)
        return Receipt()

    async def album(self, pictures: Sequence[Attachment], captions: Sequence[str]) -> None:
        as_documents = {markup.as_document(picture) for picture in pictures}
        if len(as_documents) > 1:
            raise SendImpossible("an album holds photos or files, not both")
        kind = InputMediaDocument if as_documents == {True} else InputMediaPhoto
        media = [
            kind(picture.data, caption=caption or None, filename=picture.name)
            for picture, caption in zip(pictures, captions, strict=True)
        ]
        await self._bot.send_media_group(
            self._id, media, message_thread_id=self._topic, read_timeout=UPLOAD_READ_SECONDS
        )


def _text(chat: _Chat, text: str, buttons: InlineKeyboardMarkup | None) -> list[Step]:
    """A message, or several where it is too long for one; the buttons stand below the last."""
    parts = [part for part in markup.split(text) if part.strip()]
    if not parts:
        raise SendImpossible("empty")
    return [
        partial(chat.text, part, buttons if number == len(parts) else None)
        for number, part in enumerate(parts, start=1)
    ]


async def _edited(chat: _Chat, item: Outgoing, buttons: InlineKeyboardMarkup | None) -> bool:
    """Whether the card shows its new content; False where its message is gone or too small for it."""
    if markup.units(item.text) > markup.TEXT_MAX:
        return False
    try:
        await chat.edit(int(item.edit or 0), item.text, buttons)
    except BadRequest as error:
        reason = error.message.lower()
        if any(words in reason for words in _GONE):
            return False
        if "message is not modified" not in reason:
            raise
    return True


def _pictures(chat: _Chat, item: Outgoing, buttons: InlineKeyboardMarkup | None) -> list[Step]:
    """Pictures with their text as caption; what does not fit there follows as a message of its own."""
    pictures = item.attachments
    alone, alike = len(pictures) == 1, len({markup.as_document(picture) for picture in pictures}) == 1
    fits = markup.units(item.text) <= markup.CAPTION_MAX and (alone or not buttons)
    below = buttons if alone and fits else None
    step = ALBUM_MAX if alike else 1
    groups = [pictures[start : start + step] for start in range(0, len(pictures), step)]
    captions = [item.text if fits else "", *[""] * len(groups)]
    shown: list[Step] = [
        partial(_some_pictures, chat, group, caption, below)
        for group, caption in zip(groups, captions, strict=False)
    ]
    return shown if fits else shown + _text(chat, item.text, buttons)


async def _some_pictures(
    chat: _Chat, pictures: Sequence[Attachment], caption: str, buttons: InlineKeyboardMarkup | None
) -> Receipt:
    captions = [caption, *[""] * (len(pictures) - 1)]
    if len(pictures) > 1:
        with suppress(BadRequest):  # one bad picture spoils an album: then each for itself
            await chat.album(pictures, captions)
            return Receipt()
    for picture, words in zip(pictures, captions, strict=True):
        await chat.picture(picture, words, buttons)
    return Receipt()


async def _album(chat: _Chat, items: Sequence[Outgoing]) -> list[Receipt]:
    """One picture an item. What an album cannot carry is refused, so that the items go out one by one."""
    if len(items) > ALBUM_MAX or any(len(item.attachments) != 1 or item.buttons for item in items):
        raise SendImpossible("not an album")
    if any(markup.units(item.text) > markup.CAPTION_MAX for item in items):
        raise SendImpossible("a caption is too long")
    await chat.album([item.attachments[0] for item in items], [item.text for item in items])
    return [Receipt() for _ in items]
