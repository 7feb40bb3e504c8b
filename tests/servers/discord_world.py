"""What our small Discord remembers: people, channels, messages, files, interactions, commands.

Knows nothing of HTTP, of the gateway, or of the limits on requests (`discord_rules`). Everything is kept as
the JSON that Discord documents, so that what a bot receives is what stands here; keys with an underscore are
ours and never leave the server.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
EPOCH_MS = 1_420_070_400_000
DM, TEXT = 1, 0
COMMAND, BUTTON, COMPLETION, FORM = 2, 3, 4, 5  # interaction types
EPHEMERAL, LOADING = 64, 128  # message flags
TOKEN_SECONDS, ANSWER_SECONDS = 15 * 60, 3
BOT_ID = "900000000000000001"
BOT: Json = {
    "id": BOT_ID,
    "username": "Likeness",
    "discriminator": "0",
    "global_name": None,
    "avatar": None,
    "bot": True,
}


@dataclass
class Interaction:
    """Something a person did, and how the bot answered."""

    id: str
    token: str
    type: int
    user_id: str
    channel_id: str
    source_id: str | None  # the message whose button was pressed
    made_at: float
    answer: int = 0  # the type of the first answer; 0 = none yet
    original_id: str | None = None
    form: Json | None = None
    choices: list[Json] | None = None


@dataclass
class World:
    """One bot's corner of Discord."""

    address: str = ""  # of the files
    people: dict[str, Json] = field(default_factory=dict)
    guilds: dict[str, Json] = field(default_factory=dict)
    channels: dict[str, Json] = field(default_factory=dict)
    messages: dict[str, list[Json]] = field(default_factory=dict)  # by channel, in order, edits applied
    files: dict[str, bytes] = field(default_factory=dict)  # by path
    dead_files: set[str] = field(default_factory=set)
    interactions: dict[str, Interaction] = field(default_factory=dict)
    commands: dict[str, list[Json]] = field(default_factory=dict)  # by guild id; "" = everywhere
    closed: set[str] = field(default_factory=set)  # people who take no direct messages
    away: set[str] = field(default_factory=set)  # channels where the bot is not
    nonces: dict[tuple[str, str], str] = field(default_factory=dict)  # -> message id
    skew_seconds: float = 0.0
    _count: int = 0

    def now(self) -> float:
        """Seconds since the epoch, as this world sees it."""
        return time.time() + self.skew_seconds

    def next_id(self) -> str:
        self._count += 1
        return str(((int(self.now() * 1000) - EPOCH_MS) << 22) + self._count % (1 << 22))

    # ------------------------------------------------------------ who and where

    def add_person(self, name: str) -> Json:
        user = {
            "id": self.next_id(),
            "username": name.lower(),
            "discriminator": "0",
            "global_name": name,
            "avatar": None,
        }
        self.people[user["id"]] = user
        return user

    def add_channel(self, name: str, guild: str) -> tuple[Json, Json | None]:
        """A text channel; the second is its server where that is new."""
        known = next((each for each in self.guilds.values() if each["name"] == guild), None)
        made = known or _guild(self.next_id(), guild)
        self.guilds[made["id"]] = made
        channel = {
            "id": self.next_id(),
            "type": TEXT,
            "guild_id": made["id"],
            "name": name,
            "position": 0,
            "permission_overwrites": [],
            "nsfw": False,
            "parent_id": None,
        }
        self.channels[channel["id"]] = channel
        made["channels"].append(channel)
        return channel, None if known else made

    def dm(self, user_id: str) -> Json:
        """The direct messages of a person with the bot."""
        for channel in self.channels.values():
            if channel["type"] == DM and channel["recipients"][0]["id"] == user_id:
                return channel
        channel = {
            "id": self.next_id(),
            "type": DM,
            "recipients": [self.people[user_id]],
            "last_message_id": None,
        }
        self.channels[channel["id"]] = channel
        return channel

    # ------------------------------------------------------------ messages and files

    def add_file(self, data: bytes, name: str, content_type: str) -> Json:
        file_id = self.next_id()
        path = f"{file_id}/{name}"
        self.files[path] = data
        return {
            "id": file_id,
            "filename": name,
            "size": len(data),
            "url": f"{self.address}/{path}?ex=1&is=2&hm=3",
            "proxy_url": f"{self.address}/{path}",
            "content_type": content_type,
        }

    def add_message(self, channel_id: str, author: Json, **fields: Any) -> Json:
        message = {
            "id": self.next_id(),
            "channel_id": channel_id,
            "author": author,
            "content": "",
            "timestamp": datetime.fromtimestamp(self.now(), UTC).isoformat(),
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": [],
            "embeds": [],
            "components": [],
            "pinned": False,
            "type": 0,
            "flags": 0,
            **fields,
        }
        self.messages.setdefault(channel_id, []).append(message)
        return message

    def message(self, channel_id: str, message_id: str) -> Json | None:
        found = (each for each in self.messages.get(channel_id, ()) if each["id"] == message_id)
        return next(found, None)

    def visible(self, channel_id: str, user_id: str) -> list[Json]:
        """What this person sees there, oldest first."""
        return [
            message
            for message in self.messages.get(channel_id, ())
            if not message["flags"] & EPHEMERAL or message["_for"] == user_id
        ]

    # ------------------------------------------------------------ interactions

    def add_interaction(self, type: int, user_id: str, channel_id: str, source_id: str | None) -> Interaction:
        id = self.next_id()
        made = Interaction(id, f"aW50{id}", type, user_id, channel_id, source_id, self.now())
        self.interactions[id] = made
        return made

    def by_token(self, token: str) -> Interaction | None:
        found = (each for each in self.interactions.values() if each.token == token)
        return next(found, None)

    def interaction_event(self, made: Interaction, data: Json) -> Json:
        """INTERACTION_CREATE."""
        channel, user = self.channels[made.channel_id], self.people[made.user_id]
        private = channel["type"] == DM
        event: Json = {
            "id": made.id,
            "application_id": BOT_ID,
            "type": made.type,
            "data": data,
            "token": made.token,
            "version": 1,
            "channel_id": made.channel_id,
            "channel": channel,
            "locale": "en-GB",
            "context": 1 if private else 0,
            "attachment_size_limit": 10 * 1024 * 1024,
            "entitlements": [],
            "authorizing_integration_owners": {},
            "app_permissions": "2147483647",
        }
        if private:
            event["user"] = user
        else:
            event |= {"guild_id": channel["guild_id"], "member": _member(user), "guild_locale": "en-GB"}
            event["guild"] = {"id": channel["guild_id"], "locale": "en-GB", "features": []}
        if made.source_id:
            source = self.message(made.channel_id, made.source_id)
            event["message"] = public(source) if source else None
        return event


def public(json: Json) -> Json:
    """Without what is ours."""
    return {key: value for key, value in json.items() if not key.startswith("_")}


def _member(user: Json) -> Json:
    return {
        "user": user,
        "nick": None,
        "avatar": None,
        "roles": [],
        "joined_at": "2026-01-01T00:00:00+00:00",
        "premium_since": None,
        "deaf": False,
        "mute": False,
        "pending": False,
        "flags": 0,
        "permissions": "2147483647",
        "communication_disabled_until": None,
    }


def _guild(id: str, name: str) -> Json:
    lists = ("emojis", "stickers", "channels", "members", "threads", "presences", "voice_states", "features")
    events = ("stage_instances", "guild_scheduled_events", "soundboard_sounds")
    nothing = (
        "icon",
        "splash",
        "banner",
        "description",
        "afk_channel_id",
        "system_channel_id",
        "vanity_url_code",
    )
    levels = ("verification_level", "default_message_notifications", "explicit_content_filter", "mfa_level")
    role = {
        "id": id,
        "name": "@everyone",
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "position": 0,
        "permissions": "2147483647",
        "managed": False,
        "mentionable": False,
        "flags": 0,
    }
    return {
        "id": id,
        "name": name,
        "owner_id": BOT_ID,
        "member_count": 2,
        "large": False,
        "unavailable": False,
        "roles": [role],
        "preferred_locale": "en-GB",
        "afk_timeout": 300,
        "system_channel_flags": 0,
        "nsfw_level": 0,
        "premium_tier": 0,
        "premium_progress_bar_enabled": False,
        **{key: [] for key in (*lists, *events)},
        **dict.fromkeys(nothing),
        **dict.fromkeys(levels, 0),
    }
