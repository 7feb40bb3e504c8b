"""The list of commands that platforms register and /help shows."""

import re

from bot.conversation import machine
from bot.conversation.commands import COMMANDS
from tests.bot.conversation.chat import Chat


def test_every_listed_command_is_known_and_fits_the_platforms() -> None:
    assert {command.name for command in COMMANDS} <= set(machine.COMMANDS)
    for command in COMMANDS:
        assert re.fullmatch("[a-z]{1,32}", command.name)
        assert 0 < len(command.description) <= 100
        assert "unknown_command" not in Chat().agreed().command(f"/{command.name}").said


def test_in_groups_only_what_makes_sense_there() -> None:
    assert {command.name for command in COMMANDS if command.in_groups} == {
        *("headshot", "styles", "privacy", "help"),
    }
