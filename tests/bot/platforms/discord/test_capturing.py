"""What is stored of an event."""

import json
from typing import Any

import discord
import pytest

from bot.platforms.discord.capturing import interaction_update, message_update, reply_to
from tests.bot.platforms.discord.kit import Inbox, make_platform, stage
from tests.servers.discord_world import COMMAND, World


def a_command(world: World, user: str, channel: str) -> dict[str, Any]:
    made = world.add_interaction(COMMAND, user, channel, None)
    return world.interaction_event(made, {"id": "1", "name": "status", "type": 1, "options": []})


@pytest.mark.parametrize(("context", "private"), [(0, False), (1, True), (2, False)])
async def test_only_the_direct_messages_with_the_bot_are_private(context: int, private: bool) -> None:
    """2: a chat between people, where somebody uses a bot of their account."""
    world = World()
    user = world.add_person("Ada")["id"]
    event = {**a_command(world, user, world.dm(user)["id"]), "context": context}
    client = make_platform().client
    interaction: Any = discord.Interaction(data=event, state=client._connection)  # type: ignore[arg-type]
    update = interaction_update(interaction, reply_to(interaction, 5.0))
    assert update.payload["place"]["private"] is private


async def test_it_is_json_and_says_where_and_who() -> None:
    async with stage() as here:
        await here.ada.command("headshot", {"style": "linkedin"}, channel=here.channel)
        await here.last()
        update = next(iter(here.inbox.raw.values()))
        payload = json.loads(json.dumps(update.payload))
        assert update.key.startswith("discord:")
        assert payload["user"] == {"id": here.ada.id, "name": "Ada", "language": "en-GB"}
        assert payload["place"] == {"chat_id": here.channel, "private": False, "title": "#general"}
        assert payload["options"] == {"style": "linkedin"}
        assert set(payload["reply"]) == {"interaction", "application", "token", "expires_at"}


async def test_what_is_said_on_a_server_or_by_a_bot_is_not_kept() -> None:
    async with stage() as here:
        world = here.server.world
        said = {"guild_id": next(iter(world.guilds)), "content": "hey bot"}
        named = world.add_message(here.channel, world.people[here.ada.id], **said)
        await here.server.gateway.dispatch("MESSAGE_CREATE", named)
        robot = {**world.add_person("Robot"), "bot": True}
        await here.server.gateway.dispatch(
            "MESSAGE_CREATE", world.add_message(here.ada.dm, robot, content="x")
        )
        joined = world.add_message(here.ada.dm, world.people[here.ada.id], type=7)
        await here.server.gateway.dispatch("MESSAGE_CREATE", joined)
        await here.ada.write("only this")
        await here.last()
        assert len(here.inbox.raw) == 1
        assert isinstance(here.inbox, Inbox)
        assert message_update
