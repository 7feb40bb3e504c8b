"""The methods of the Bot API that Likeness may call, with the limits that the Bot API documents.

Limits: https://core.telegram.org/bots/api (text 4096, caption 1024, callback data 64 bytes, albums of 2-10 of
one kind, photos 10 MB, uploads 50 MB, downloads 20 MB, 100 commands). Lengths are counted in UTF-16 units,
the stricter reading of "characters". Wordings of errors are those that the real server is known for.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.servers.telegram_world import BOT, Json, World

MB = 1024 * 1024
CALLBACK_LIFE_SECONDS = 900.0


class Refusal(Exception):
    """The answer `{"ok": false, ...}`."""

    def __init__(self, code: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.code, self.description, self.parameters = code, description, parameters


@dataclass
class Call:
    """One request: its parameters as text, and its uploads by field name."""

    world: World
    params: dict[str, str]
    uploads: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def json(self, name: str, default: Any = None) -> Any:
        try:
            return json.loads(self.params[name]) if name in self.params else default
        except ValueError as error:
            raise Refusal(400, f"Bad Request: can't parse {name} JSON object") from error


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _chat(call: Call) -> Json:
    world = call.world
    try:
        chat_id = int(call.params["chat_id"])
    except (KeyError, ValueError) as error:
        raise Refusal(400, "Bad Request: chat_id is empty") from error
    if chat_id in world.migrated:
        raise Refusal(
            400,
            "Bad Request: group chat was upgraded to a supergroup chat",
            migrate_to_chat_id=world.migrated[chat_id],
        )
    if chat_id not in world.chats:
        raise Refusal(400, "Bad Request: chat not found")
    if chat_id in world.blocked:
        raise Refusal(403, "Forbidden: bot was blocked by the user")
    if chat_id in world.deactivated:
        raise Refusal(403, "Forbidden: user is deactivated")
    if chat_id in world.kicked:
        raise Refusal(403, "Forbidden: bot was kicked from the group chat")
    return world.chats[chat_id]


def _markup(call: Call) -> Json:
    """The checked `reply_markup`, as a part of a message."""
    markup = call.json("reply_markup")
    if markup is None:
        return {}
    rows = markup.get("inline_keyboard")
    if not isinstance(rows, list):
        raise Refusal(400, "Bad Request: object expected as reply markup")
    buttons = [button for row in rows for button in row]
    if len(buttons) > 100 or any(len(row) > 8 for row in rows):
        raise Refusal(400, "Bad Request: REPLY_MARKUP_TOO_LONG")
    for button in buttons:
        if not button.get("text"):
            raise Refusal(400, "Bad Request: inline keyboard button text must be non-empty")
        kinds = set(button) - {"text", "style", "icon_custom_emoji_id"}
        if len(kinds) != 1 or not kinds <= {"callback_data", "url"}:
            raise Refusal(400, "Bad Request: text buttons are unallowed in the inline keyboard")
        if "callback_data" in button and not 1 <= len(button["callback_data"].encode()) <= 64:
            raise Refusal(400, "Bad Request: BUTTON_DATA_INVALID")
        if "url" in button and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", button["url"]):
            raise Refusal(400, "Bad Request: BUTTON_URL_INVALID")
        start = re.fullmatch(r"https://t\.me/\w+\?start=(.*)", button.get("url", ""))
        if start and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", start[1]):
            raise Refusal(400, "Bad Request: deep link payload is invalid")
    return {"reply_markup": markup} if buttons else {}


def _text(call: Call) -> str:
    text = call.params.get("text", "")
    if not text.strip():
        raise Refusal(400, "Bad Request: message text is empty")
    if _units(text) > 4096:
        raise Refusal(400, "Bad Request: message is too long")
    return text


def _caption(caption: str) -> Json:
    if _units(caption) > 1024:
        raise Refusal(400, "Bad Request: message caption is too long")
    return {"caption": caption} if caption else {}


def _media(call: Call, kind: str, reference: str) -> Json:
    """The stored photo or document of an upload (`attach://field`) or of a known file id."""
    world = call.world
    name, data = call.uploads.get(reference.removeprefix("attach://"), ("", b""))
    if not name and reference in world.files:
        name, data = world.files[reference].name, world.files[reference].data
    if not name:
        raise Refusal(400, "Bad Request: wrong file identifier/HTTP URL specified")
    if not data:
        raise Refusal(400, "Bad Request: file must be non-empty")
    if len(data) > 50 * MB:
        raise Refusal(413, "Request Entity Too Large")
    if kind == "photo":
        if len(data) > 10 * MB:
            raise Refusal(400, "Bad Request: PHOTO_SAVE_FILE_INVALID")
        if data[:3] != b"\xff\xd8\xff" and data[:8] != b"\x89PNG\r\n\x1a\n" and data[8:12] != b"WEBP":
            raise Refusal(400, "Bad Request: IMAGE_PROCESS_FAILED")
        return {"photo": world.photo_sizes(data)}
    return {"document": {**world.add_file(data, name), "file_name": name}}


# ---------------------------------------------------------------- the methods


def get_me(call: Call) -> Any:
    return BOT


def send_message(call: Call) -> Any:
    chat = _chat(call)
    return call.world.add_message(chat["id"], BOT, {"text": _text(call), **_markup(call)})


def _send_file(call: Call, kind: str) -> Any:
    chat = _chat(call)
    reference = f"attach://{kind}" if kind in call.uploads else call.params.get(kind, "")
    content = {**_media(call, kind, reference), **_caption(call.params.get("caption", "")), **_markup(call)}
    return call.world.add_message(chat["id"], BOT, content)


def send_photo(call: Call) -> Any:
    return _send_file(call, "photo")


def send_document(call: Call) -> Any:
    return _send_file(call, "document")


def send_media_group(call: Call) -> Any:
    chat, media = _chat(call), call.json("media", [])
    if not 2 <= len(media) <= 10:
        raise Refusal(400, "Bad Request: wrong number of messages specified: an album has 2-10")
    kinds = {item.get("type") for item in media}
    if kinds not in ({"photo"}, {"document"}):
        raise Refusal(400, "Bad Request: can't use the media of the specified type in the album")
    if "reply_markup" in call.params:
        raise Refusal(400, "Bad Request: an album has no reply markup")
    contents = [
        {**_media(call, item["type"], item["media"]), **_caption(item.get("caption", ""))} for item in media
    ]
    group = str(10**16 + call.world.next_id())
    return [call.world.add_message(chat["id"], BOT, {**c, "media_group_id": group}) for c in contents]


def edit_message_text(call: Call) -> Any:
    chat, text, markup = _chat(call), _text(call), _markup(call)
    message = call.world.find_message(chat["id"], int(call.params.get("message_id", 0)))
    if message is None:
        raise Refusal(400, "Bad Request: message to edit not found")
    if message["from"]["id"] != BOT["id"]:
        raise Refusal(400, "Bad Request: message can't be edited")
    if "text" not in message:
        raise Refusal(400, "Bad Request: there is no text in the message to edit")
    if message["text"] == text and message.get("reply_markup") == markup.get("reply_markup"):
        raise Refusal(
            400,
            "Bad Request: message is not modified: specified new message content and reply markup are "
            "exactly the same as a current content and reply markup of the message",
        )
    message.pop("reply_markup", None)
    message.update({"text": text, "edit_date": int(time.time()), **markup})
    return message


def edit_message_reply_markup(call: Call) -> Any:
    chat, markup = _chat(call), _markup(call)
    message = call.world.find_message(chat["id"], int(call.params.get("message_id", 0)))
    if message is None:
        raise Refusal(400, "Bad Request: message to edit not found")
    message.pop("reply_markup", None)
    message.update(markup)
    return message


def delete_message(call: Call) -> Any:
    chat = _chat(call)
    message = call.world.find_message(chat["id"], int(call.params.get("message_id", 0)))
    if message is None:
        raise Refusal(400, "Bad Request: message to delete not found")
    call.world.messages[chat["id"]].remove(message)
    return True


def answer_callback_query(call: Call) -> Any:
    query = call.world.callbacks.get(call.params.get("callback_query_id", ""))
    if query is None or time.monotonic() - query["at"] > CALLBACK_LIFE_SECONDS:
        raise Refusal(
            400, "Bad Request: query is too old and response timeout expired or query ID is invalid"
        )
    if _units(call.params.get("text", "")) > 200:
        raise Refusal(400, "Bad Request: MESSAGE_TOO_LONG")
    query["answered"] += 1
    return True


def get_file(call: Call) -> Any:
    file_id = call.params.get("file_id", "")
    stored = call.world.files.get(file_id)
    if stored is None:
        raise Refusal(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
    if len(stored.data) > 20 * MB:
        raise Refusal(400, "Bad Request: file is too big")
    sizes = {"file_id": file_id, "file_unique_id": stored.unique_id, "file_size": len(stored.data)}
    return {**sizes, "file_path": f"files/{stored.expired}/{file_id}"}


def set_my_commands(call: Call) -> Any:
    commands, scope = call.json("commands", []), call.json("scope", {"type": "default"})
    if len(commands) > 100:
        raise Refusal(400, "Bad Request: BOT_COMMANDS_TOO_MUCH")
    for command in commands:
        if not re.fullmatch(r"[a-z0-9_]{1,32}", command["command"]):
            raise Refusal(400, "Bad Request: BOT_COMMAND_INVALID")
        if not 1 <= _units(command["description"]) <= 256:
            raise Refusal(400, "Bad Request: BOT_COMMAND_DESCRIPTION_INVALID")
    call.world.settings[f"commands:{scope['type']}:{call.params.get('language_code', '')}"] = commands
    return True


def get_my_commands(call: Call) -> Any:
    scope = call.json("scope", {"type": "default"})
    return call.world.settings.get(f"commands:{scope['type']}:{call.params.get('language_code', '')}", [])


def _setter(name: str, limit: int) -> Callable[[Call], Any]:
    def method(call: Call) -> Any:
        if _units(call.params.get(name, "")) > limit:
            raise Refusal(400, f"Bad Request: {name} is too long")
        call.world.settings[name] = call.params.get(name, "")
        return True

    return method


def _getter(name: str) -> Callable[[Call], Any]:
    return lambda call: {name: call.world.settings.get(name, "")}


METHODS: dict[str, Callable[[Call], Any]] = {
    method.lower(): handler
    for method, handler in {
        "getMe": get_me,
        "sendMessage": send_message,
        "sendPhoto": send_photo,
        "sendDocument": send_document,
        "sendMediaGroup": send_media_group,
        "editMessageText": edit_message_text,
        "editMessageReplyMarkup": edit_message_reply_markup,
        "deleteMessage": delete_message,
        "answerCallbackQuery": answer_callback_query,
        "getFile": get_file,
        "setMyCommands": set_my_commands,
        "getMyCommands": get_my_commands,
        "setMyDescription": _setter("description", 512),
        "getMyDescription": _getter("description"),
        "setMyShortDescription": _setter("short_description", 120),
        "getMyShortDescription": _getter("short_description"),
    }.items()
}
