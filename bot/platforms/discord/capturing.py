"""What discord.py hands over, as the JSON that is stored: only what `translating` and the answer need."""

from typing import Any

import discord

from bot.platforms.base import RawUpdate
from bot.platforms.discord.reach import Reply

NAME = "discord"
COMMAND, BUTTON, FORM, MESSAGE = "command", "button", "form", "message"
_KINDS = {
    discord.InteractionType.application_command: COMMAND,
    discord.InteractionType.component: BUTTON,
    discord.InteractionType.modal_submit: FORM,
}


def interaction_update(interaction: discord.Interaction[Any], reply: Reply) -> RawUpdate:
    """A command, a pressed button or a submitted form."""
    data: dict[str, Any] = dict(interaction.data or {})
    payload = {
        "kind": _KINDS[interaction.type],
        "name": data.get("name", ""),
        "options": {option["name"]: option.get("value") for option in data.get("options", ())},
        "custom_id": data.get("custom_id", ""),
        "files": [_file(raw) for raw in data.get("resolved", {}).get("attachments", {}).values()],
        "user": _user(interaction.user, str(interaction.locale)),
        "place": _place(interaction),
        "reply": reply.handle(),
    }
    return RawUpdate(f"{NAME}:{interaction.id}", payload)


def message_update(message: discord.Message) -> RawUpdate | None:
    """A direct message of a person; None for anything else. Discord leaves out the content of all others."""
    wanted = message.type in (discord.MessageType.default, discord.MessageType.reply)
    if message.guild or message.author.bot or not wanted:
        return None
    payload = {
        "kind": MESSAGE,
        "text": message.content,
        "files": [
            {"filename": file.filename, "content_type": file.content_type or ""}
            for file in message.attachments
        ],
        "stickers": len(message.stickers),
        "user": _user(message.author, ""),
        "place": {"chat_id": str(message.channel.id), "private": True, "title": ""},
    }
    return RawUpdate(f"{NAME}:{message.id}", payload)


def reply_to(interaction: discord.Interaction[Any], expires_at: float) -> Reply:
    """The handle to answer it."""
    return Reply(str(interaction.id), str(interaction.application_id), interaction.token, expires_at)


def is_private(interaction: discord.Interaction[Any]) -> bool:
    """In the direct messages with the bot, not those that two people have with each other."""
    return bool(interaction.context.dm_channel)


def _place(interaction: discord.Interaction[Any]) -> dict[str, Any]:
    channel = interaction.channel
    name = getattr(channel, "name", None) or ""
    private = is_private(interaction)
    return {"chat_id": str(interaction.channel_id), "private": private, "title": f"#{name}" if name else ""}


def _user(user: discord.User | discord.Member, language: str) -> dict[str, str]:
    return {"id": str(user.id), "name": user.display_name, "language": language}


def _file(raw: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": str(raw["id"]),
        "url": raw["url"],
        "size": raw.get("size", 0),
        "filename": raw.get("filename", ""),
        "content_type": raw.get("content_type") or "",
    }
