"""What people see of the bot in their app, over real HTTP."""

import pytest

from bot.conversation.commands import COMMANDS
from bot.platforms.telegram import registering
from bot.texts.profile import DESCRIPTION, SHORT_DESCRIPTION
from tests.bot.platforms.telegram import kit


async def test_commands_are_registered_by_scope_and_only_when_they_changed() -> None:
    async with kit.telegram() as (platform, people, ada):
        for _ in range(2):
            async with kit.receiving(platform) as inbox:
                await ada.text("x")
                await inbox.wait(1)
        state = await people.state()
        private = [command["command"] for command in state["settings"]["commands:all_private_chats:"]]
        groups = [command["command"] for command in state["settings"]["commands:all_group_chats:"]]
        assert (private, groups) == (["start", "headshot", "status"], ["headshot"])
        assert len(await people.requests("setMyCommands")) == 2
        assert await people.requests("deleteMyCommands") == []


async def test_descriptions_are_written_once_and_fit() -> None:
    async with kit.telegram() as (platform, people, ada):
        for _ in range(2):
            async with kit.receiving(platform) as inbox:
                await ada.text("x")
                await inbox.wait(1)
        settings = (await people.state())["settings"]
        assert settings["description"] == DESCRIPTION
        assert settings["short_description"] == SHORT_DESCRIPTION
        made = await people.requests("setMyDescription", "setMyShortDescription")
        assert [one["status"] for one in made] == [200, 200]


async def test_the_commands_that_ship_are_telegrams() -> None:
    """The server refuses a name or a description that Telegram would refuse."""
    async with kit.telegram() as (platform, people, _):
        await registering.register(platform._bot, COMMANDS)
        settings = (await people.state())["settings"]
        assert len(settings["commands:all_private_chats:"]) == len(COMMANDS)
        in_groups = {command["command"] for command in settings["commands:all_group_chats:"]}
        assert "headshot" in in_groups
        assert not in_groups & {"selfies", "train", "deleteme", "mydata"}


async def test_a_refused_profile_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with kit.telegram() as (platform, people, ada):
        await people.fault("setMyCommands", description="Bad Request: BOT_COMMAND_INVALID")
        async with kit.receiving(platform) as inbox:
            await ada.text("hello")
            await inbox.wait(1)
    assert "did not take the commands" in caplog.text
