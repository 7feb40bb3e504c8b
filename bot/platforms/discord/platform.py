"""The Discord platform: puts receiving, translating, sending and fetching together for one bot."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import discord
import httpx

from bot.config import DiscordSettings
from bot.conversation.types import FileRef, Incoming
from bot.errors import SendLater
from bot.platforms.base import Accept, Capabilities, CommandInfo, Outgoing, Receipt
from bot.platforms.discord import markup, translating
from bot.platforms.discord.capturing import NAME
from bot.platforms.discord.client import Client
from bot.platforms.discord.faults import FAULTS, bad_token
from bot.platforms.discord.fetching import Fetcher
from bot.platforms.discord.reach import Reach
from bot.platforms.discord.receiving import Receiver
from bot.platforms.discord.sending import Sender
from bot.styles import Catalogue

CAPABILITIES = Capabilities(
    text_max=markup.TEXT_MAX,
    caption_max=markup.TEXT_MAX,
    album_max=markup.FILES_MAX,
    file_max_bytes=markup.FILE_MAX_BYTES,
    can_edit=True,
    edit_interval_seconds=2.0,
    chat_interval_seconds=0.0,  # differs from call to call: discord.py keeps what Discord's answers say
    group_per_minute=0,
    total_per_second=40.0,  # Discord's own limit is 50 calls
)
BACKOFF_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
NOT_CONNECTED_SECONDS = 2.0
TIDY_SECONDS, UNANSWERED_SECONDS = 20.0, 60.0

log = logging.getLogger(__name__)


class DiscordPlatform:
    """One bot on Discord; a `bot.platforms.base.Platform`."""

    def __init__(
        self,
        token: str,
        settings: DiscordSettings,
        commands: Sequence[CommandInfo],
        styles: Catalogue,
        *,
        clock: Callable[[], float] = time.time,
        **client_options: Any,
    ) -> None:
        _prepare_library()
        self._token = token
        self._reach = Reach(clock)
        self.receiver = Receiver(self._reach, clock)
        self._parts = (settings, commands, styles, self.receiver)
        self._options = client_options
        self.client = Client(*self._parts, **self._options)
        self._sender = Sender(lambda: self.client, self._reach)
        self._fetcher = Fetcher(httpx.create_ssl_context())
        self._closed = False

    @property
    def name(self) -> str:
        """`discord`"""
        return NAME

    @property
    def capabilities(self) -> Capabilities:
        """Discord's limits."""
        return CAPABILITIES

    async def receive(self, accept: Accept) -> None:
        """See `Platform.receive`. A failure of `accept` ends it."""
        failed = self.receiver.begin(accept)
        tasks = {asyncio.create_task(self._stay_connected()), asyncio.create_task(self._tidy())}
        try:
            done, _ = await asyncio.wait({failed, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for task in tasks:
                task.cancel()
            failed.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def translate(self, payload: dict[str, Any]) -> Incoming | None:
        """See `Platform.translate`."""
        return translating.translate(payload)

    async def send(self, items: Sequence[Outgoing]) -> list[Receipt]:
        """See `Platform.send`."""
        if not self.client.logged_in:
            raise SendLater(NOT_CONNECTED_SECONDS, "not connected yet")
        return await self._sender.send(items) if items else []

    async def fetch(self, file: FileRef, max_bytes: int) -> bytes:
        """See `Platform.fetch`."""
        return await self._fetcher.fetch(file, max_bytes)

    async def close(self) -> None:
        """See `Platform.close`."""
        self._closed = True
        await _leave(self.client)
        await self._fetcher.close()

    async def _stay_connected(self) -> None:
        """discord.py mends a connection by itself; what ends it, and a failed start, is tried again here."""
        failures = 0
        while not self._closed:
            try:
                await self.client.start(self._token)
                problem = "the connection was closed"
            except discord.LoginFailure:
                raise bad_token() from None
            except (*FAULTS, discord.GatewayNotFound, discord.ConnectionClosed) as error:
                problem = type(error).__name__
            failures = 0 if self.client.was_ready else failures
            await _leave(self.client)
            wait = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
            failures += 1
            if not self._closed:
                log.warning("Discord cannot be reached: %s; again in %.0f s", problem, wait)
                await asyncio.sleep(wait)
                self.client = Client(*self._parts, **self._options)

    async def _tidy(self) -> None:
        """Take "is thinking..." away where there was nothing to say."""
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            await self._sender.tidy(UNANSWERED_SECONDS)


async def _leave(client: Client) -> None:
    if client.started:
        await client.close()


def _prepare_library() -> None:
    """Keep what people write out of the logs, and do without the voice that discord.py warns about."""
    logging.getLogger("discord").setLevel(logging.INFO)
    for library in ("httpx", "httpcore"):  # the addresses of files are signed
        logging.getLogger(library).setLevel(logging.WARNING)
    discord.VoiceClient.warn_nacl = False
    discord.VoiceClient.warn_dave = False
