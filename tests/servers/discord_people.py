"""People who use the bot, for tests: they command, press, upload and read through `discord_server`.

    async with DiscordPeople(server.url) as people:
        ada = await people.person("Ada")
        await ada.command("start")                       # in her direct messages, or `channel=`
        consent = await ada.wait_for("consent")          # a word of the text, or a predicate over a Message
        await ada.press("I agree", consent)              # a part of its label, its action or its whole data
        form = await ada.press("Send selfies")           # a button that opens the form
        await ada.upload(form, [jpeg] * 15)
        headshot = await ada.wait_for(lambda message: message.pictures)
        picture = await people.file(headshot.pictures[0])

Everything is HTTP, so the server and the bot may be other processes.
"""

import asyncio
import base64
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

Predicate = Callable[["Message"], Any]
_ESCAPED = re.compile(r"\\([\\`*_~|>#\[\]()-])")


@dataclass(frozen=True)
class MessageButton:
    """A button as the person sees it; `data` comes back to the bot."""

    label: str
    data: str


@dataclass(frozen=True)
class Message:
    """A message as it reads now: edits applied, markdown shown."""

    id: str
    text: str
    buttons: tuple[MessageButton, ...]
    pictures: tuple[str, ...]  # addresses
    names: tuple[str, ...]  # of the files
    whisper: bool  # only this person sees it
    thinking: bool  # "is thinking..."
    edited: bool
    from_bot: bool

    def button(self, label: str) -> MessageButton | None:
        """By a part of its label, its action, or all of its data."""
        for button in self.buttons:
            if label in button.label or label == button.data or button.data.startswith(f"v1:{label}:"):
                return button
        return None


@dataclass(frozen=True)
class Interaction:
    """What became of something a person did. `answer`: type of the bot's first answer, 0 = none so far."""

    id: str
    answer: int
    failed: bool  # the app says that the application did not respond
    form: dict[str, Any] | None
    choices: tuple[dict[str, Any], ...]


class DiscordPeople:
    """The control side of one server."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=f"{url}/control", timeout=30, trust_env=False, verify=False)

    async def __aenter__(self) -> "DiscordPeople":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def call(self, verb: str, **body: Any) -> Any:
        """Raises AssertionError for what this person cannot do."""
        answer = await self._http.post(f"/{verb}", json=body)
        assert answer.status_code != 409, answer.json()["error"]
        answer.raise_for_status()
        return answer.json()

    async def person(self, name: str = "Ada") -> "Person":
        made = await self.call("person", name=name)
        return Person(self, made["id"], name, made["dm"])

    async def channel(self, name: str = "general", guild: str = "Friends") -> str:
        """The id of a new channel of a server that the bot is on."""
        return str(await self.call("channel", name=name, guild=guild))

    async def fault(self, call: str, kind: str = "refuse", **fields: Any) -> None:
        """Order a fault; see `discord_server.Fault`."""
        await self.call("fault", call=call, kind=kind, **fields)

    async def throttle(self, call: str, seconds: float) -> None:
        """429 of one route."""
        await self.fault(call, status=429, headers={"Via": "1.1 google"}, extra={"retry_after": seconds})

    async def advance(self, seconds: float) -> None:
        """Time passes for Discord."""
        await self.call("advance", seconds=seconds)

    async def drop(self, code: int = 4000) -> None:
        """The bot's connection breaks."""
        await self.call("drop", code=code)

    async def state(self) -> dict[str, Any]:
        """connected, intents, identified, resumed, heartbeats, requests, commands."""
        return dict(await self.call("state"))

    async def connected(self, timeout: float = 10.0) -> None:
        """Wait until the bot is."""
        until = time.monotonic() + timeout
        while not (await self.state())["connected"]:
            assert time.monotonic() < until, "the bot did not connect"
            await asyncio.sleep(0.02)

    async def file(self, url: str) -> bytes:
        return base64.b64decode(await self.call("file", url=url))


class Person:
    """Somebody with a Discord account. `channel` names a place; their direct messages are the default."""

    def __init__(self, people: DiscordPeople, user_id: str, name: str, dm: str) -> None:
        self.people, self.id, self.name, self.dm = people, user_id, name, dm

    async def write(self, text: str = "", photos: Sequence[bytes] = (), kind: str = "image/jpeg") -> None:
        """A direct message."""
        await self.people.call("write", user=self.id, text=text, files=_files(photos, kind))

    async def command(
        self,
        name: str,
        options: dict[str, str] | None = None,
        photos: Sequence[bytes] = (),
        channel: str = "",
        kind: str = "image/jpeg",
    ) -> Interaction:
        """A slash command; photos go into the options photo1, photo2 and so on."""
        files = {f"photo{n}": file for n, file in enumerate(_files(photos, kind), start=1)}
        at = channel or self.dm
        made = await self.people.call(
            "command", user=self.id, channel=at, name=name, options=options or {}, files=files
        )
        return await self._answered(made)

    async def complete(self, name: str, option: str, typed: str, channel: str = "") -> Interaction:
        """What is offered while typing."""
        at = channel or self.dm
        made = await self.people.call(
            "complete", user=self.id, channel=at, name=name, option=option, typed=typed
        )
        return await self._answered(made)

    async def press(self, label: str, message: Message | None = None, channel: str = "") -> Interaction:
        """A button of this message, or of the newest that has it."""
        shown = [message] if message else reversed(await self.messages(channel))
        for each in shown:
            button = each.button(label)
            if button:
                made = await self.people.call(
                    "press", user=self.id, channel=channel or self.dm, message=each.id, label=button.data
                )
                return await self._answered(made)
        raise AssertionError(f"no button {label!r}")

    async def upload(
        self, form: Interaction, photos: Sequence[bytes], kind: str = "image/jpeg"
    ) -> Interaction:
        """Fill the form, ten photos a field, and send it."""
        assert form.form, "no form was opened"
        ids = [label["component"]["custom_id"] for label in form.form["components"]]
        files = _files(photos, kind)
        fields = {id: files[10 * n : 10 * n + 10] for n, id in enumerate(ids)}
        assert len(photos) <= 10 * len(ids), "the form does not hold so many"
        made = await self.people.call("submit", user=self.id, interaction=form.id, fields=fields)
        return await self._answered(made)

    async def close_dms(self, closed: bool = True) -> None:
        await self.people.call("close_dms", user=self.id, closed=closed)

    async def messages(self, channel: str = "") -> list[Message]:
        """What the bot said and this person sees, oldest first."""
        raw = await self.people.call("messages", user=self.id, channel=channel or self.dm)
        return [message for message in map(_message, raw) if message.from_bot]

    async def wait_for(self, wanted: str | Predicate, channel: str = "", timeout: float = 10.0) -> Message:
        """The newest message with this word, or that fulfils this predicate."""
        until = time.monotonic() + timeout
        while True:
            seen = await self.messages(channel)
            for message in reversed(seen):
                found = wanted in message.text if isinstance(wanted, str) else wanted(message)
                if found:
                    return message
            assert time.monotonic() < until, f"{wanted} not in {[message.text for message in seen]}"
            await asyncio.sleep(0.02)

    async def _answered(self, interaction: str) -> Interaction:
        """Once the bot has answered first, or the app gives up."""
        until = time.monotonic() + 5
        while True:
            raw = await self.people.call("interaction", interaction=interaction)
            if raw["answer"] or raw["failed"] or time.monotonic() > until:
                return Interaction(
                    interaction, raw["answer"], raw["failed"], raw["form"], tuple(raw["choices"] or ())
                )
            await asyncio.sleep(0.01)


def _files(photos: Sequence[bytes], kind: str) -> list[list[str]]:
    suffix = {"image/jpeg": "jpg", "application/pdf": "pdf"}.get(kind, kind.rpartition("/")[2])
    return [
        [f"IMG_{n}.{suffix}", kind, base64.b64encode(data).decode()] for n, data in enumerate(photos, start=1)
    ]


def _message(raw: dict[str, Any]) -> Message:
    return Message(
        id=raw["id"],
        text=_ESCAPED.sub(r"\1", raw["content"]),
        buttons=tuple(
            MessageButton(each["label"], each["custom_id"])
            for row in raw["components"]
            for each in row["components"]
        ),
        pictures=tuple(file["url"] for file in raw["attachments"]),
        names=tuple(file["filename"] for file in raw["attachments"]),
        whisper=bool(raw["flags"] & 64),
        thinking=raw["thinking"],
        edited=raw["edited_timestamp"] is not None,
        from_bot=bool(raw["author"].get("bot")),
    )
