"""The HTTP API of our small Discord: what Likeness uses of https://discord.com/developers/docs/reference.

A handler gets a `Call` and returns the JSON of the answer, or raises `Refusal`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.servers.discord_rules import (
    ANSWERS,
    CHOICES_MAX,
    Refusal,
    check_commands,
    check_form,
    check_message,
    invalid,
)
from tests.servers.discord_world import (
    ANSWER_SECONDS,
    BOT,
    BOT_ID,
    DM,
    EPHEMERAL,
    LOADING,
    TOKEN_SECONDS,
    Interaction,
    Json,
    World,
    public,
)

UNKNOWN_MESSAGE = Refusal(404, 10008, "Unknown Message")
SUPPRESS_EMBEDS = 4


@dataclass
class Call:
    """One request of the bot. `at`: the parts of the path that vary."""

    world: World
    gateway: str
    at: dict[str, str]
    body: Any
    files: list[tuple[str, str, bytes]] = field(default_factory=list)  # name, type, bytes
    with_response: bool = False


Handler = Callable[[Call], Any]


def me(_: Call) -> Json:
    return BOT


def application(_: Call) -> Json:
    return {
        "id": BOT_ID,
        "name": "Likeness",
        "description": "",
        "icon": None,
        "bot_public": True,
        "bot_require_code_grant": False,
        "owner": BOT,
        "verify_key": "0" * 64,
        "flags": 0,
        "team": None,
    }


def gateway_bot(call: Call) -> Json:
    limit = {"total": 1000, "remaining": 999, "reset_after": 0, "max_concurrency": 1}
    return {"url": call.gateway, "shards": 1, "session_start_limit": limit}


def get_commands(call: Call) -> list[Json]:
    return call.world.commands.get(call.at.get("guild", ""), [])


def put_commands(call: Call) -> list[Json]:
    check_commands(call.body)
    made = [_stored_command(call, command) for command in call.body]
    call.world.commands[call.at.get("guild", "")] = made
    return made


def _stored_command(call: Call, command: Json) -> Json:
    """As Discord gives it back: with ids, and without what is empty."""
    kept = {key: value for key, value in command.items() if value or key == "nsfw"}
    options = [{k: v for k, v in option.items() if v} for option in command.get("options", [])]
    extra = {"id": call.world.next_id(), "application_id": BOT_ID, "version": call.world.next_id()}
    guild = {"guild_id": call.at["guild"]} if "guild" in call.at else {}
    defaults = {"default_member_permissions": None, "name_localizations": None}
    return {**defaults, **kept, **({"options": options} if options else {}), **extra, **guild}


def open_dm(call: Call) -> Json:
    user_id = str(call.body["recipient_id"])
    if user_id not in call.world.people:
        raise Refusal(404, 10013, "Unknown User")
    return call.world.dm(user_id)


# ---------------------------------------------------------------- messages of a channel


def post_message(call: Call) -> Json:
    world, channel = call.world, _channel(call)
    check_message(call.body, [data for _, _, data in call.files])
    nonce = str(call.body.get("nonce") or "")
    if nonce and call.body.get("enforce_nonce") and (channel["id"], nonce) in world.nonces:
        known = world.message(channel["id"], world.nonces[channel["id"], nonce])
        if known:
            return public(known)
    message = world.add_message(channel["id"], BOT, **_content(call))
    if nonce:
        world.nonces[channel["id"], nonce] = message["id"]
    return public(message)


def patch_message(call: Call) -> Json:
    return _edited(call, _own_message(call))


def delete_message(call: Call) -> None:
    message = _own_message(call)
    call.world.messages[message["channel_id"]].remove(message)


def _channel(call: Call) -> Json:
    channel = call.world.channels.get(call.at["channel"])
    if channel is None:
        raise Refusal(404, 10003, "Unknown Channel")
    if channel["id"] in call.world.away:
        raise Refusal(403, 50001, "Missing Access")
    if channel["type"] == DM and channel["recipients"][0]["id"] in call.world.closed:
        raise Refusal(403, 50007, "Cannot send messages to this user")
    return channel


def _own_message(call: Call) -> Json:
    channel = _channel(call)
    message = call.world.message(channel["id"], call.at["message"])
    if message is None or message["flags"] & EPHEMERAL:
        raise UNKNOWN_MESSAGE
    if message["author"]["id"] != BOT_ID:
        raise Refusal(403, 50005, "Cannot edit a message authored by another user")
    return message


def _content(call: Call) -> Json:
    body, world = call.body, call.world
    return {
        "content": body.get("content") or "",
        "components": body.get("components") or [],
        "attachments": [world.add_file(data, name, kind) for name, kind, data in call.files],
        "flags": int(body.get("flags") or 0),
    }


def _edited(call: Call, message: Json) -> Json:
    check_message(call.body, [data for _, _, data in call.files], edit=True)
    changes = _content(call)
    kept = {key: value for key, value in changes.items() if key in call.body and key != "flags"}
    message.update(kept, edited_timestamp=message["timestamp"])
    if call.files:
        message["attachments"] = changes["attachments"]
    message["flags"] &= ~LOADING
    return public(message)


# ---------------------------------------------------------------- interactions


def first_answer(call: Call) -> Json | None:
    world, made = call.world, call.world.interactions.get(call.at["interaction"])
    if made is None or made.token != call.at["token"] or world.now() - made.made_at > ANSWER_SECONDS:
        raise Refusal(404, 10062, "Unknown interaction")
    if made.answer:
        raise Refusal(400, 40060, "Interaction has already been acknowledged.")
    kind, data = int(call.body["type"]), call.body.get("data") or {}
    if kind not in ANSWERS[made.type] or (kind in (6, 7) and not made.source_id):
        raise invalid("type: not for this interaction")
    if kind == 9:
        check_form(data)
        made.form = data
    elif kind == 8:
        made.choices = _checked_choices(data)
    elif kind in (4, 5):
        _answer_by_message(call, made, kind, data)
    made.answer = kind
    loading = {"response_message_id": made.original_id} if made.original_id else {}
    answer = {"interaction": {"id": made.id, "type": made.type, **loading}}
    return answer if call.with_response else None


def _checked_choices(data: Json) -> list[Json]:
    choices = data.get("choices", [])
    if len(choices) > CHOICES_MAX or any(not 1 <= len(each["name"]) <= 100 for each in choices):
        raise invalid("choices")
    return list(choices)


def _answer_by_message(call: Call, made: Interaction, kind: int, data: Json) -> None:
    flags = int(data.get("flags") or 0) & EPHEMERAL
    if kind == 4:
        check_message(data, [])
        fields = {"content": data.get("content") or "", "components": data.get("components") or []}
    else:
        flags, fields = flags | LOADING, {}
    message = call.world.add_message(made.channel_id, BOT, **fields, flags=flags, _for=made.user_id)
    made.original_id = message["id"]


def _alive(call: Call) -> Interaction:
    made = call.world.by_token(call.at["token"])
    if made is None or not made.answer or call.at["application"] != BOT_ID:
        raise Refusal(404, 10015, "Unknown Webhook")
    if call.world.now() - made.made_at > TOKEN_SECONDS:
        raise Refusal(401, 50027, "Invalid Webhook Token")
    return made


def follow_up(call: Call) -> Json:
    """The first one after "is thinking..." replaces that, and keeps its privacy."""
    made = _alive(call)
    original = call.world.message(made.channel_id, made.original_id or "")
    if original and original["flags"] & LOADING:
        check_message(call.body, [data for _, _, data in call.files])
        return _edited(call, original)
    check_message(call.body, [data for _, _, data in call.files])
    fields = {**_content(call), "_for": made.user_id, "webhook_id": BOT_ID, "_by": made.id}
    return public(call.world.add_message(made.channel_id, BOT, **fields))


def patch_answer(call: Call) -> Json:
    return _edited(call, _answer(call))


def get_answer(call: Call) -> Json:
    return public(_answer(call))


def delete_answer(call: Call) -> None:
    message = _answer(call)
    call.world.messages[message["channel_id"]].remove(message)


def _answer(call: Call) -> Json:
    made, wanted = _alive(call), call.at["message"]
    message = call.world.message(
        made.channel_id, (made.original_id or "") if wanted == "@original" else wanted
    )
    if message is None or (message["id"] != made.original_id and message.get("_by") != made.id):
        raise UNKNOWN_MESSAGE
    return message


def parsed(raw: str) -> Any:
    """A request's JSON."""
    return json.loads(raw) if raw else {}


ROUTES: dict[tuple[str, str], Handler] = {
    ("GET", "/users/@me"): me,
    ("GET", "/oauth2/applications/@me"): application,
    ("GET", "/gateway/bot"): gateway_bot,
    ("GET", "/applications/{application}/commands"): get_commands,
    ("PUT", "/applications/{application}/commands"): put_commands,
    ("GET", "/applications/{application}/guilds/{guild}/commands"): get_commands,
    ("PUT", "/applications/{application}/guilds/{guild}/commands"): put_commands,
    ("POST", "/users/@me/channels"): open_dm,
    ("POST", "/channels/{channel}/messages"): post_message,
    ("PATCH", "/channels/{channel}/messages/{message}"): patch_message,
    ("DELETE", "/channels/{channel}/messages/{message}"): delete_message,
    ("POST", "/interactions/{interaction}/{token}/callback"): first_answer,
    ("POST", "/webhooks/{application}/{token}"): follow_up,
    ("GET", "/webhooks/{application}/{token}/messages/{message}"): get_answer,
    ("PATCH", "/webhooks/{application}/{token}/messages/{message}"): patch_answer,
    ("DELETE", "/webhooks/{application}/{token}/messages/{message}"): delete_answer,
}
