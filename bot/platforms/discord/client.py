"""The discord.py client: connected without privileged intents, remembering as little as it can."""

from collections.abc import Sequence
from typing import Any

import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.config import DiscordSettings
from bot.platforms.base import CommandInfo
from bot.platforms.discord.commands import Tree
from bot.platforms.discord.faults import FAULTS
from bot.platforms.discord.receiving import Receiver, log
from bot.styles import Catalogue

API_URL, GATEWAY = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
THROTTLED_SECONDS_MAX = 30.0  # a longer pause is the delivery's to keep; discord.py takes no smaller number


class Client(discord.AutoShardedClient):
    """One bot. Hands every interaction and direct message to its receiver."""

    def __init__(
        self,
        settings: DiscordSettings,
        commands: Sequence[CommandInfo],
        styles: Catalogue,
        receiver: Receiver,
        **options: Any,
    ) -> None:
        super().__init__(
            intents=discord.Intents(guilds=True, dm_messages=True),
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
            max_ratelimit_timeout=THROTTLED_SECONDS_MAX,
            **options,
        )
        self._settings, self._receiver = settings, receiver
        self.tree = Tree(self, commands, styles, receiver.interaction)
        self.started = self.logged_in = self.was_ready = False
        # The library's own constants: the only way to another server.
        Route.BASE = settings.api_url.rstrip("/") or API_URL
        DiscordWebSocket.DEFAULT_GATEWAY = GATEWAY

    async def login(self, token: str) -> None:
        """See discord.py. From here on the client needs to be closed."""
        self.started = True
        await super().login(token)

    async def setup_hook(self) -> None:
        """Logged in: register the commands. That is worth a try, not a stop."""
        self.logged_in = True
        if self._settings.api_url:
            _, gateway, _ = await self.http.get_bot_gateway()
            DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)
        try:
            await self.tree.register(self.application_id or 0, self._settings.sync_guild_id)
        except (*FAULTS, discord.app_commands.AppCommandError) as error:
            log.warning("Discord did not take the commands: %s", error)

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Commands come through the tree, which also completes what is being typed."""
        if interaction.type in (discord.InteractionType.component, discord.InteractionType.modal_submit):
            await self._receiver.interaction(interaction)

    async def on_message(self, message: discord.Message) -> None:
        """A direct message, or one that names the bot, which is not meant for it."""
        await self._receiver.message(message)

    async def on_ready(self) -> None:
        """Connected."""
        self.was_ready = True
        log.info("connected to Discord", extra={"servers": len(self.guilds)})
