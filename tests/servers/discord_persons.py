"""What people do on our small Discord, as their apps let them: only commands that are registered, only
buttons that are shown to them, only files that a form takes. What cannot be done is a LookupError.
"""

import base64
from collections.abc import Awaitable, Callable
from typing import Any

from tests.servers.discord_gateway import Gateway
from tests.servers.discord_rules import upload_bounds
from tests.servers.discord_world import (
    BUTTON,
    COMMAND,
    COMPLETION,
    DM,
    FORM,
    LOADING,
    Interaction,
    Json,
    World,
    public,
)

STRING, ATTACHMENT = 3, 11  # types of options
Files = list[list[str]]  # name, content type, base64


class Persons:
    """The side of the people."""

    def __init__(self, world: World, gateway: Gateway) -> None:
        self._world, self._gateway = world, gateway

    # ------------------------------------------------------------ who and where

    async def person(self, name: str) -> Json:
        user = self._world.add_person(name)
        return {"id": user["id"], "dm": self._world.dm(user["id"])["id"]}

    async def channel(self, name: str, guild: str) -> str:
        channel, new = self._world.add_channel(name, guild)
        if new:
            await self._gateway.dispatch("GUILD_CREATE", new)
        else:
            await self._gateway.dispatch("CHANNEL_CREATE", channel)
        return str(channel["id"])

    async def close_dms(self, user: str, closed: bool) -> None:
        (self._world.closed.add if closed else self._world.closed.discard)(user)

    async def remove_bot(self, channel: str) -> None:
        self._world.away.add(channel)

    # ------------------------------------------------------------ what they do

    async def write(self, user: str, text: str, files: Files) -> None:
        """A direct message."""
        world = self._world
        channel = world.dm(user)["id"]
        attachments = [world.add_file(*_file(each)) for each in files]
        message = world.add_message(channel, world.people[user], content=text, attachments=attachments)
        await self._gateway.dispatch("MESSAGE_CREATE", public(message))

    async def complete(self, user: str, channel: str, name: str, option: str, typed: str) -> str:
        command = self._command(channel, name)
        known = next((each for each in command.get("options", []) if each["name"] == option), None)
        if not known or not known.get("autocomplete"):
            raise LookupError(f"{option} of {name} completes nothing")
        options = [{"name": option, "type": STRING, "value": typed, "focused": True}]
        return await self._interact(COMPLETION, user, channel, _chosen(command, options, {}))

    async def command(
        self, user: str, channel: str, name: str, options: dict[str, str], files: dict[str, list[str]]
    ) -> str:
        command = self._command(channel, name)
        known = {option["name"]: option for option in command.get("options", [])}
        missing = [
            name for name, each in known.items() if each.get("required") and name not in {**options, **files}
        ]
        unknown = [name for name in (*options, *files) if name not in known]
        if missing or unknown:
            raise LookupError(f"/{name}: missing {missing}, unknown {unknown}")
        attachments = {key: self._world.add_file(*_file(file)) for key, file in files.items()}
        given = [{"name": key, "type": STRING, "value": value} for key, value in options.items()]
        given += [{"name": key, "type": ATTACHMENT, "value": file["id"]} for key, file in attachments.items()]
        resolved = {file["id"]: file for file in attachments.values()}
        return await self._interact(COMMAND, user, channel, _chosen(command, given, resolved))

    async def press(self, user: str, channel: str, message: str, label: str) -> str:
        shown = [each for each in self._world.visible(channel, user) if each["id"] == message]
        buttons = [button for each in shown for row in each["components"] for button in row["components"]]
        found = [each for each in buttons if label in (each["label"], each["custom_id"])]
        if not found:
            raise LookupError(f"no button {label!r} among {[each['label'] for each in buttons]}")
        data = {"component_type": 2, "custom_id": found[0]["custom_id"]}
        return await self._interact(BUTTON, user, channel, data, message)

    async def submit(self, user: str, interaction: str, fields: dict[str, Files]) -> str:
        opened = self._world.interactions[interaction]
        if opened.form is None or opened.user_id != user:
            raise LookupError("no form is open")
        components, resolved = [], {}
        for label in opened.form["components"]:
            upload = label["component"]
            least, most = upload_bounds(upload)
            files = [self._world.add_file(*_file(each)) for each in fields.get(upload["custom_id"], [])]
            if (upload.get("required", True) and len(files) < max(1, least)) or len(files) > most:
                raise LookupError(f"{upload['custom_id']} takes {least} to {most} files")
            resolved |= {file["id"]: file for file in files}
            value = {"type": 19, "custom_id": upload["custom_id"], "values": [file["id"] for file in files]}
            components.append({"type": 18, "component": value})
        data = {"custom_id": opened.form["custom_id"], "components": components}
        data["resolved"] = {"attachments": resolved}
        opened.form = None
        return await self._interact(FORM, user, opened.channel_id, data, opened.source_id)

    # ------------------------------------------------------------ what they see

    async def interaction(self, interaction: str) -> Json:
        made = self._world.interactions[interaction]
        return {
            "answer": made.answer,
            "failed": not made.answer and self._world.now() - made.made_at > 3,
            "form": made.form,
            "choices": made.choices,
        }

    async def messages(self, user: str, channel: str) -> list[Json]:
        if self._world.channels[channel]["type"] == DM and channel != self._world.dm(user)["id"]:
            raise LookupError("somebody else's messages")
        return [
            {**public(each), "thinking": bool(each["flags"] & LOADING)}
            for each in self._world.visible(channel, user)
        ]

    # ------------------------------------------------------------ how it goes

    def _command(self, channel: str, name: str) -> Json:
        guild = self._world.channels[channel].get("guild_id", "")
        commands = [*self._world.commands.get(guild, []), *self._world.commands.get("", [])]
        found = next((each for each in commands if each["name"] == name), None)
        context = 1 if self._world.channels[channel]["type"] == DM else 0
        if found is None or context not in (found.get("contexts") or [0, 1, 2]):
            raise LookupError(f"/{name} is not registered here")
        return found

    async def _interact(
        self, type: int, user: str, channel: str, data: Json, source: str | None = None
    ) -> str:
        made: Interaction = self._world.add_interaction(type, user, channel, source)
        await self._gateway.dispatch("INTERACTION_CREATE", self._world.interaction_event(made, data))
        return made.id


def _chosen(command: Json, options: list[Json], attachments: Json) -> Json:
    data = {"id": command["id"], "name": command["name"], "type": 1, "options": options}
    return data | ({"resolved": {"attachments": attachments}} if attachments else {})


def _file(sent: list[str]) -> tuple[bytes, str, str]:
    name, kind, data = sent
    return base64.b64decode(data), name, kind


VERBS: dict[str, Callable[..., Awaitable[Any]]] = {
    "person": Persons.person,
    "channel": Persons.channel,
    "close_dms": Persons.close_dms,
    "remove_bot": Persons.remove_bot,
    "write": Persons.write,
    "complete": Persons.complete,
    "command": Persons.command,
    "press": Persons.press,
    "submit": Persons.submit,
    "interaction": Persons.interaction,
    "messages": Persons.messages,
}
