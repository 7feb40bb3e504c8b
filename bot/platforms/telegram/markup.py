"""Texts, buttons and pictures in the form and within the limits of the Bot API. Pure.

Lengths are counted in UTF-16 units, as Telegram counts entities: never longer than its "characters".
"""

from collections.abc import Iterator, Sequence

from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.constants import FileSizeLimit, InlineKeyboardMarkupLimit, MessageLimit

from bot.conversation.types import Button
from bot.errors import SendImpossible
from bot.platforms.base import Attachment
from bot.platforms.telegram.addresses import deep_link

TEXT_MAX = int(MessageLimit.MAX_TEXT_LENGTH)
CAPTION_MAX = int(MessageLimit.CAPTION_LENGTH)
PHOTO_MAX_BYTES = int(FileSizeLimit.PHOTOSIZE_UPLOAD)
FILE_MAX_BYTES = int(FileSizeLimit.FILESIZE_UPLOAD)


def units(text: str) -> int:
    """Length in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def split(text: str, limit: int = TEXT_MAX) -> Iterator[str]:
    """Parts of at most `limit` UTF-16 units that together are `text`; broken between lines or words."""
    while units(text) > limit:
        end = limit
        while units(text[:end]) > limit:
            end -= (units(text[:end]) - limit + 1) // 2
        cut = max(text.rfind(" ", end // 2, end), 0)
        cut = max(text.rfind("\n", end // 2, end), 0) or cut
        yield text[: cut + 1] if cut else text[:end]
        text = text[cut + 1 :] if cut else text[end:]
    yield text


def keyboard(rows: Sequence[Sequence[Button]], bot_username: str) -> InlineKeyboardMarkup | None:
    """Buttons below a message; None without any. `upload` needs no button: photos are simply sent."""
    made: list[list[InlineKeyboardButton]] = []
    width = int(InlineKeyboardMarkupLimit.BUTTONS_PER_ROW)
    for row in rows:
        buttons = [_button(button, bot_username) for button in row if button.action != "upload"]
        made += [buttons[start : start + width] for start in range(0, len(buttons), width)]
    return InlineKeyboardMarkup(made) if made else None


def _button(button: Button, bot_username: str) -> InlineKeyboardButton:
    if button.action == "private":
        return InlineKeyboardButton(button.label, url=deep_link(bot_username, button.argument))
    return InlineKeyboardButton(button.label, callback_data=f"v1:{button.action}:{button.argument}")


def as_document(attachment: Attachment) -> bool:
    """Goes out as a file: asked for, or too large for a photo. Raises SendImpossible above the limit."""
    if len(attachment.data) > FILE_MAX_BYTES:
        raise SendImpossible("too_large")
    return attachment.as_file or len(attachment.data) > PHOTO_MAX_BYTES
