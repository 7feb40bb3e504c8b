"""What people see of the bot before they write: its commands and descriptions. Written when changed."""

from collections.abc import Sequence

from telegram import Bot, BotCommand, BotCommandScopeAllGroupChats, BotCommandScopeAllPrivateChats

from bot.platforms.base import CommandInfo
from bot.texts.profile import DESCRIPTION, SHORT_DESCRIPTION

DESCRIPTION_MAX = 256


async def register(bot: Bot, commands: Sequence[CommandInfo]) -> None:
    """Commands by scope (groups see only those that work there), the description and the short one."""
    in_groups = [command for command in commands if command.in_groups]
    await _commands(bot, commands, BotCommandScopeAllPrivateChats())
    await _commands(bot, in_groups, BotCommandScopeAllGroupChats())
    if (await bot.get_my_description()).description != DESCRIPTION:
        await bot.set_my_description(DESCRIPTION)
    if (await bot.get_my_short_description()).short_description != SHORT_DESCRIPTION:
        await bot.set_my_short_description(SHORT_DESCRIPTION)


async def _commands(
    bot: Bot,
    commands: Sequence[CommandInfo],
    scope: BotCommandScopeAllPrivateChats | BotCommandScopeAllGroupChats,
) -> None:
    wanted = [BotCommand(command.name, command.description[:DESCRIPTION_MAX]) for command in commands]
    if list(await bot.get_my_commands(scope)) != wanted:
        await bot.set_my_commands(wanted, scope)
