"""People who use the bot, for tests: they send, press and read through `tests.servers.telegram_server`.

    async with TelegramPeople(server.url) as people:
        ada = await people.person("Ada")
        await ada.text("/start")
        consent = await ada.wait_for("consent")      # a word of the text, or a predicate over a Message
        await ada.press("I agree", consent)          # its label, action or data
        await ada.album([jpeg, jpeg, jpeg])
        headshot = await ada.wait_for(lambda message: message.photo)
        picture = await people.file(headshot.photo)

Everything is HTTP, so the server and the bot may be other processes.
"""

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

Predicate = Callable[["Message"], Any]


@dataclass(frozen=True)
class MessageButton:
    """A button as the person sees it: `data` comes back to the bot, `url` opens a page."""

    label: str
    data: str
    url: str


@dataclass(frozen=True)
class Message:
    """What the bot sent, as it reads now (edits applied)."""

    id: int
    chat_id: int
    text: str  # or the caption
    buttons: tuple[MessageButton, ...]
    photo: str  # file id of the largest size; empty = no photo
    document: str  # file id; empty = no file
    name: str  # the document's file name
    album: str
    edited: bool

    def button(self, label: str) -> MessageButton:
        found = [button for button in self.buttons if _is(button, label)]
        if not found:
            raise AssertionError(f"no button {label!r} in {self.buttons}")
        return found[0]


def _message(raw: dict[str, Any]) -> Message:
    rows = raw.get("reply_markup", {}).get("inline_keyboard", [])
    return Message(
        id=raw["message_id"],
        chat_id=raw["chat"]["id"],
        text=raw.get("text", raw.get("caption", "")),
        buttons=tuple(
            MessageButton(b["text"], b.get("callback_data", ""), b.get("url", ""))
            for row in rows
            for b in row
        ),
        photo=raw["photo"][-1]["file_id"] if "photo" in raw else "",
        document=raw.get("document", {}).get("file_id", ""),
        name=raw.get("document", {}).get("file_name", ""),
        album=raw.get("media_group_id", ""),
        edited="edit_date" in raw,
    )


class TelegramPeople:
    """The control side of one server."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=f"{url}/control", timeout=30, trust_env=False, verify=False)
        self._albums = 0

    async def __aenter__(self) -> "TelegramPeople":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def call(self, verb: str, **body: Any) -> Any:
        answer = await self._http.post(f"/{verb}", json=body)
        answer.raise_for_status()
        return answer.json()

    async def person(self, name: str = "Ada", language: str = "en", user_id: int | None = None) -> "Person":
        user = await self.call("person", name=name, language=language, id=user_id)
        return Person(self, user["id"], name)

    async def group(self, title: str = "Friends") -> int:
        """The chat id of a new group that the bot is a member of."""
        return (await self.call("group", title=title))["id"]

    async def migrate(self, chat_id: int) -> int:
        """The group becomes a supergroup; its new chat id."""
        return (await self.call("migrate", chat_id=chat_id))["id"]

    async def fault(self, method: str, kind: str = "refuse", **fields: Any) -> None:
        """Order a fault; see `telegram_server.Fault`."""
        await self.call("fault", method=method, kind=kind, **fields)

    async def throttle(self, method: str, retry_after: int, times: int = 1) -> None:
        """429 with retry_after."""
        text = f"Too Many Requests: retry after {retry_after}"
        parameters = {"retry_after": retry_after}
        await self.fault(method, code=429, description=text, parameters=parameters, times=times)

    async def state(self) -> dict[str, Any]:
        """Settings, webhook, number of updates waiting, faults left, callback answers, requests."""
        return await self.call("state")

    async def requests(self, *methods: str) -> list[dict[str, Any]]:
        """Every request so far, without getUpdates unless it is asked for."""
        made = (await self.state())["requests"]
        return [r for r in made if (r["method"] in methods if methods else r["method"] != "getUpdates")]

    async def file(self, file_id: str) -> bytes:
        return base64.b64decode(await self.call("file", file_id=file_id))

    async def all_taken(self, timeout: float = 10.0) -> None:
        """Wait until the bot has confirmed every update."""
        until = time.monotonic() + timeout
        while (await self.state())["waiting"]:
            assert time.monotonic() < until, "updates are still waiting"
            await asyncio.sleep(0.02)

    async def abandoned(self, timeout: float = 10.0) -> None:
        """Wait until every bot has left, and the server is done with what they had sent before."""
        until = time.monotonic() + timeout
        while True:
            async with httpx.AsyncClient(trust_env=False) as http:  # a connection made after theirs
                answer = await http.post(f"{self._http.base_url}abandoned", json={})
            if answer.json():
                return
            assert time.monotonic() < until, "a bot is still connected"
            await asyncio.sleep(0.02)

    async def messages(self, chat_id: int) -> list[Message]:
        """What the bot sent to a chat, oldest first."""
        raw = await self.call("messages", chat_id=chat_id)
        return [_message(message) for message in raw if message["from"]["is_bot"]]

    def next_album(self) -> str:
        self._albums += 1
        return f"album-{self._albums}"


class Person:
    """Somebody with a Telegram account. `chat` names a group; the private chat is the default."""

    def __init__(self, people: TelegramPeople, user_id: int, name: str) -> None:
        self.people, self.id, self.name = people, user_id, name

    async def _say(self, content: dict[str, Any], files: list[dict[str, Any]], chat: int | None) -> int:
        body = {"user_id": self.id, "chat_id": chat or self.id, "content": content, "files": files}
        return (await self.people.call("say", **body))["message_id"]

    async def text(self, text: str, chat: int | None = None) -> int:
        """Send words or a command; the message id."""
        content: dict[str, Any] = {"text": text}
        if text.startswith("/"):
            length = len(text.split()[0])
            content["entities"] = [{"type": "bot_command", "offset": 0, "length": length}]
        return await self._say(content, [], chat)

    async def photo(self, data: bytes, caption: str = "", chat: int | None = None) -> int:
        content = {"caption": caption} if caption else {}
        return await self._say(content, [{"kind": "photo", "data": _packed(data)}], chat)

    async def album(self, photos: Sequence[bytes], caption: str = "", chat: int | None = None) -> None:
        """Up to ten photos: one update each, no count, no end, the caption on the first."""
        assert 2 <= len(photos) <= 10, "Telegram's apps split albums at ten"
        group = self.people.next_album()
        for number, data in enumerate(photos):
            content = {"media_group_id": group, **({"caption": caption} if caption and not number else {})}
            await self._say(content, [{"kind": "photo", "data": _packed(data)}], chat)

    async def document(self, data: bytes, name: str, mime: str, chat: int | None = None) -> int:
        """Send a file as it is."""
        file = {"kind": "document", "data": _packed(data), "name": name}
        return await self._say({}, [{**file, "fields": {"file_name": name, "mime_type": mime}}], chat)

    async def other(self, kind: str, fields: dict[str, Any], data: bytes = b"x") -> int:
        """Send a sticker, a voice message, a video, ...: `fields` as the Bot API names them."""
        return await self._say({}, [{"kind": kind, "data": _packed(data), "fields": fields}], None)

    async def press(self, button: str, message: Message | None = None, chat: int | None = None) -> None:
        """Press a button by its label, its action or its data, on the newest message that has it."""
        if message is None:
            message = await self.wait_for(lambda m: any(_is(b, button) for b in m.buttons), chat=chat)
        data = message.button(button).data
        where = {"user_id": self.id, "chat_id": message.chat_id, "message_id": message.id}
        await self.people.call("press", **where, data=data)

    async def block(self) -> None:
        await self.people.call("flag", chat_id=self.id, flag="blocked")

    async def unblock(self) -> None:
        await self.people.call("flag", chat_id=self.id, flag="unblocked")

    async def messages(self, chat: int | None = None) -> list[Message]:
        """What the bot sent, oldest first."""
        return await self.people.messages(chat or self.id)

    async def wait_for(
        self, wanted: str | Predicate, *, timeout: float = 10.0, chat: int | None = None
    ) -> Message:
        """The newest message of the bot that fulfils `wanted` (a word of its text, or a predicate)."""
        predicate = wanted if callable(wanted) else lambda m: wanted.lower() in m.text.lower()
        until = time.monotonic() + timeout
        while True:
            read = await self.messages(chat)
            for message in reversed(read):
                if predicate(message):
                    return message
            assert time.monotonic() < until, f"{wanted!r} did not come within {timeout} s; there is: {read}"
            await asyncio.sleep(0.05)


def _is(button: MessageButton, name: str) -> bool:
    return name in (button.label, button.data) or button.data.startswith(f"v1:{name}:")


def _packed(data: bytes) -> str:
    return base64.b64encode(data).decode()
