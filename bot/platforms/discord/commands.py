"""The slash commands: made from the conversation's list, registered only when Discord has other ones."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import discord
from discord import app_commands

from bot.platforms.base import CommandInfo
from bot.styles import Catalogue

DESCRIPTION_MAX, CHOICE_MAX, CHOICES_MAX = 100, 100, 25

Take = Callable[[discord.Interaction], Awaitable[None]]
Callback = Callable[..., Any]

log = logging.getLogger(__name__)


class Tree(app_commands.CommandTree[discord.Client]):
    """All commands of the bot, for servers, direct messages and group chats, on servers and on accounts."""

    def __init__(
        self, client: discord.Client, commands: Sequence[CommandInfo], styles: Catalogue, take: Take
    ) -> None:
        super().__init__(
            client,
            allowed_contexts=app_commands.AppCommandContext(
                guild=True, dm_channel=True, private_channel=True
            ),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=True),
        )
        self._take = take
        for info in commands:
            self.add_command(_command(info, styles, take))

    async def on_error(
        self, interaction: discord.Interaction[Any], error: app_commands.AppCommandError, /
    ) -> None:
        """A command that an older version registered is the conversation's to explain."""
        old = isinstance(error, app_commands.CommandNotFound | app_commands.CommandSignatureMismatch)
        if old and interaction.type is discord.InteractionType.application_command:
            await self._take(interaction)
        elif not old:
            log.error("a command failed", exc_info=error)

    async def register(self, application_id: int, guild_id: int) -> None:
        """Tell Discord the commands where it has other ones. `guild_id`: only on that server, at once."""
        guild = discord.Object(guild_id) if guild_id else None
        http = self.client.http
        if guild:
            self.copy_global_to(guild=guild)
            known = await http.get_guild_commands(application_id, guild_id)
        else:
            known = await http.get_global_commands(application_id)
        wanted = [command.to_dict(self) for command in self.get_commands()]
        for command in wanted:
            del command["dm_permission"]  # says what `contexts` says, in the older way
        if not _same(sorted(wanted, key=_name), sorted(known, key=_name)):
            await self.sync(guild=guild)
            log.info("commands registered", extra={"commands": len(wanted)})


def _command(info: CommandInfo, styles: Catalogue, take: Take) -> app_commands.Command[Any, ..., None]:
    callback: Callback
    if info.name == "selfies":
        callback = _with_photos(take)
    elif info.name == "headshot":
        callback = _with_style(take, styles)
    else:
        callback = _with_words(take, info.argument) if info.argument else _bare(take)
    description = info.description[:DESCRIPTION_MAX]
    return app_commands.Command(name=info.name, description=description, callback=callback)


def _bare(take: Take) -> Callback:
    async def callback(interaction: discord.Interaction) -> None:
        await take(interaction)

    return callback


def _with_words(take: Take, argument: str) -> Callback:
    @app_commands.rename(words=argument)
    @app_commands.describe(words=argument)
    async def callback(interaction: discord.Interaction, words: str = "") -> None:
        await take(interaction)

    return callback


def _with_style(take: Take, styles: Catalogue) -> Callback:
    async def complete(_: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return [
            app_commands.Choice(name=f"{style.label}: {style.description}"[:CHOICE_MAX], value=style.id)
            for style in styles.search(typed, CHOICES_MAX)
        ]

    @app_commands.describe(style="a style, or any words", details="colours, background, how many, ...")
    @app_commands.autocomplete(style=complete)
    async def callback(interaction: discord.Interaction, style: str = "", details: str = "") -> None:
        await take(interaction)

    return callback


def _with_photos(take: Take) -> Callback:
    Photo = discord.Attachment | None

    async def callback(
        interaction: discord.Interaction,
        photo1: Photo = None,
        photo2: Photo = None,
        photo3: Photo = None,
        photo4: Photo = None,
        photo5: Photo = None,
        photo6: Photo = None,
        photo7: Photo = None,
        photo8: Photo = None,
        photo9: Photo = None,
        photo10: Photo = None,
    ) -> None:
        await take(interaction)

    return callback


def _same(wanted: Any, known: Any) -> bool:
    """Everything we say is what Discord has; it adds fields of its own, and leaves out empty ones."""
    if isinstance(wanted, dict):
        have = known if isinstance(known, dict) else {}
        return all(_same(value, have.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list):
        have_items = known or []
        return len(wanted) == len(have_items) and all(map(_same, wanted, have_items))
    return bool(wanted == known or (not wanted and not known))


def _name(command: Any) -> str:
    return str(command["name"])
