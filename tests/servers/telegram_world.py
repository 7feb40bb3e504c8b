"""What a Bot API server remembers: people, chats, files, messages, updates waiting to be fetched.

Knows nothing of HTTP and nothing of the limits on requests (`telegram_methods`). Everything is kept as the
JSON that the Bot API documents, so that what a bot receives is what stands here.
"""

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
BOT: Json = {
    "id": 7000000001,
    "is_bot": True,
    "first_name": "Likeness",
    "username": "LikenessTestBot",
    "can_join_groups": True,
    "can_read_all_group_messages": False,
    "supports_inline_queries": False,
}


@dataclass
class StoredFile:
    """A file: the bytes, and how the Bot API names it."""

    data: bytes
    name: str
    unique_id: str
    expired: int = 0  # how many of its download links are dead already


@dataclass
class World:
    """One bot's corner of Telegram."""

    people: dict[int, Json] = field(default_factory=dict)
    chats: dict[int, Json] = field(default_factory=dict)
    blocked: set[int] = field(default_factory=set)  # people who blocked the bot
    deactivated: set[int] = field(default_factory=set)
    kicked: set[int] = field(default_factory=set)  # groups that removed the bot
    migrated: dict[int, int] = field(default_factory=dict)  # old group id -> supergroup id
    messages: dict[int, list[Json]] = field(default_factory=dict)  # by chat, in order, edits applied
    files: dict[str, StoredFile] = field(default_factory=dict)
    updates: list[Json] = field(default_factory=list)  # not confirmed yet
    callbacks: dict[str, Json] = field(default_factory=dict)  # id -> {at, answered}
    settings: dict[str, Any] = field(default_factory=dict)  # commands, descriptions
    allowed_updates: list[str] | None = None
    _next_update: int = 100001
    _next_id: int = 1

    def next_id(self) -> int:
        self._next_id += 1
        return self._next_id

    # ------------------------------------------------------------ who and where

    def add_person(self, name: str, language: str, user_id: int | None = None) -> Json:
        user_id = user_id or 5_000_000_000 + self.next_id()  # above 32 bits, as real ids are
        user = {"id": user_id, "is_bot": False, "first_name": name, "language_code": language}
        self.people[user_id] = user
        self.chats[user_id] = {"id": user_id, "type": "private", "first_name": name}
        return user

    def add_group(self, title: str) -> Json:
        chat = {"id": -4_000_000_000 - self.next_id(), "type": "group", "title": title}
        self.chats[chat["id"]] = chat
        return chat

    def migrate(self, chat_id: int) -> Json:
        new = {**self.chats[chat_id], "id": -1_000_000_000_000 - self.next_id(), "type": "supergroup"}
        self.chats[new["id"]] = new
        self.migrated[chat_id] = new["id"]
        sender = next(iter(self.people.values()))
        self.user_message(sender["id"], chat_id, {"migrate_to_chat_id": new["id"]})
        return new

    # ------------------------------------------------------------ files

    def add_file(self, data: bytes, name: str) -> Json:
        """The `file_id`, `file_unique_id` and `file_size` of new bytes. Ids change, unique ids do not."""
        unique_id = "U" + hashlib.sha256(data).hexdigest()[:15]
        file_id = f"F{self.next_id()}-{unique_id}"
        self.files[file_id] = StoredFile(data, name, unique_id)
        return {"file_id": file_id, "file_unique_id": unique_id, "file_size": len(data)}

    def photo_sizes(self, data: bytes) -> list[Json]:
        """A photo as Telegram shows it: a small picture of other bytes first, the largest last."""
        thumb = self.add_file(b"thumb " + hashlib.sha256(data).digest(), "thumb.jpg")
        full = self.add_file(data, "photo.jpg")
        return [{**thumb, "width": 90, "height": 67}, {**full, "width": 1280, "height": 960}]

    # ------------------------------------------------------------ messages and updates

    def add_message(self, chat_id: int, sender: Json, content: Json) -> Json:
        message = {
            "message_id": self.next_id(),
            "from": sender,
            "chat": self.chats[chat_id],
            "date": int(time.time()),
            **content,
        }
        self.messages.setdefault(chat_id, []).append(message)
        return message

    def find_message(self, chat_id: int, message_id: int) -> Json | None:
        return next((m for m in self.messages.get(chat_id, ()) if m["message_id"] == message_id), None)

    def user_message(self, user_id: int, chat_id: int, content: Json, *, update: bool = True) -> Json:
        message = self.add_message(chat_id, self.people[user_id], content)
        if update:
            self.add_update("message", message)
        return message

    def add_update(self, kind: str, body: Json) -> Json | None:
        allowed = self.allowed_updates
        if allowed and kind not in allowed:
            return None
        update = {"update_id": self._next_update, kind: body}
        self._next_update += 1
        self.updates.append(update)
        return update

    def confirm_before(self, offset: int) -> None:
        """Forget what the bot says it has (`offset` is the first id that it still wants)."""
        if offset < 0:
            self.updates = self.updates[offset:]
        elif offset:
            self.updates = [update for update in self.updates if update["update_id"] >= offset]

    def press(self, user_id: int, chat_id: int, message_id: int, data: str) -> Json:
        message = self.find_message(chat_id, message_id)
        query = {
            "id": str(10**15 + self.next_id()),
            "from": self.people[user_id],
            "message": message,
            "chat_instance": str(chat_id),
            "data": data,
        }
        self.callbacks[query["id"]] = {"at": time.monotonic(), "answered": 0}
        self.add_update("callback_query", query)
        return query

    def set_blocked(self, user_id: int, blocked: bool) -> None:
        (self.blocked.add if blocked else self.blocked.discard)(user_id)
        old, new = ("member", "kicked") if blocked else ("kicked", "member")
        bot = {key: BOT[key] for key in ("id", "is_bot", "first_name", "username")}
        self.add_update(
            "my_chat_member",
            {
                "chat": self.chats[user_id],
                "from": self.people[user_id],
                "date": int(time.time()),
                "old_chat_member": _membership(bot, old),
                "new_chat_member": _membership(bot, new),
            },
        )


def _membership(user: Json, status: str) -> Json:
    return {"user": user, "status": status, **({"until_date": 0} if status == "kicked" else {})}
