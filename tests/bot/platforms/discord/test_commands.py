"""The slash commands, as Discord gets them."""

import discord
import pytest

from bot.conversation.commands import COMMANDS as ALL
from bot.platforms.base import CommandInfo
from bot.platforms.discord.commands import Tree
from bot.styles import Catalogue
from tests.bot.platforms.discord.kit import COMMANDS, Inbox, make_platform, receiving, stage
from tests.servers.discord_people import DiscordPeople
from tests.servers.discord_rules import check_commands
from tests.servers.discord_server import running_server


async def nothing(_: discord.Interaction) -> None:
    """Takes a command."""


def payloads(commands: tuple[CommandInfo, ...]) -> dict[str, dict]:
    tree = Tree(discord.Client(intents=discord.Intents.none()), commands, Catalogue.load(), nothing)
    return {each.name: each.to_dict(tree) for each in tree.get_commands()}


def test_all_commands_are_within_discords_limits_and_work_everywhere() -> None:
    made = payloads(ALL)
    check_commands(list(made.values()))
    assert set(made) == {info.name for info in ALL}
    assert all(
        each["contexts"] == [0, 1, 2] and each["integration_types"] == [0, 1] for each in made.values()
    )


def test_the_options() -> None:
    made = payloads(COMMANDS)
    style, details = made["headshot"]["options"]
    assert (style["name"], style["autocomplete"], details["name"]) == ("style", True, "details")
    assert [option["name"] for option in made["selfies"]["options"]] == [f"photo{n}" for n in range(1, 11)]
    assert {option["type"] for option in made["selfies"]["options"]} == {11}
    assert [option["name"] for option in made["remove"]["options"]] == ["number"]
    assert made["status"]["options"] == []


@pytest.mark.parametrize(
    ("typed", "first"), [("link", "linkedin"), ("LinkedIn", "linkedin"), ("corp", "corporate")]
)
async def test_styles_are_completed_while_typing(typed: str, first: str) -> None:
    async with stage() as here:
        offered = await here.ada.complete("headshot", "style", typed)
        assert offered.choices[0]["value"] == first
        everything = await here.ada.complete("headshot", "style", "")
        assert len(everything.choices) == min(25, len(Catalogue.load().styles))


async def registrations(people: DiscordPeople) -> list[str]:
    return [call for call in (await people.state())["requests"] if call.startswith("PUT")]


async def test_they_are_registered_once_and_again_only_when_changed() -> None:
    async with running_server() as server, DiscordPeople(server.url) as people:
        for expected in (1, 1):
            platform = make_platform(server.api_url)
            async with receiving(platform, Inbox(platform)):
                await people.connected()
            assert len(await registrations(people)) == expected
        server.world.commands[""][0]["description"] = "something older"
        platform = make_platform(server.api_url)
        async with receiving(platform, Inbox(platform)):
            await people.connected()
        assert len(await registrations(people)) == 2


async def test_on_one_server_only() -> None:
    async with running_server() as server, DiscordPeople(server.url) as people:
        await people.channel()
        guild_id = next(iter(server.world.guilds))
        platform = make_platform(server.api_url, sync_guild_id=int(guild_id))
        async with receiving(platform, Inbox(platform)):
            await people.connected()
        commands = (await people.state())["commands"]
        assert [each["name"] for each in commands[guild_id]] == [info.name for info in COMMANDS]
        assert "" not in commands


async def test_what_discord_does_not_take_is_no_stop() -> None:
    async with running_server() as server, DiscordPeople(server.url) as people:
        await people.fault("PUT *", status=400, code=50035)
        platform = make_platform(server.api_url)
        async with receiving(platform, Inbox(platform)):
            await people.connected()
