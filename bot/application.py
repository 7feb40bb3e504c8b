"""The chat process: database, inbox, fetching, delivery, retention and the platforms, put together and run.

Nothing here decides anything; it makes the parts, starts their loops and ends them in order.
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

from bot.config import Settings
from bot.conversation.commands import COMMANDS
from bot.delivery import Delivery
from bot.errors import ConfigError, OperatorError
from bot.fetching import Fetching
from bot.inbox import Inbox
from bot.platforms.base import Platform
from bot.queueing import WakeUps
from bot.retention import Retention
from bot.store.blobs import open_blobs
from bot.store.database import Database
from bot.styles import Catalogue
from bot.texts import CONSENT_VERSION

log = logging.getLogger(__name__)


def confirm_licence(settings: Settings) -> None:
    """Raises ConfigError unless the base model's licence is confirmed or needs no confirmation."""
    if settings.engine.licence_needed:
        raise ConfigError(
            "engine.licence_confirmed",
            f"the licence of {settings.engine.base} is not confirmed",
            "Read it, and if it covers your use set licence_confirmed = true in config.toml",
        )


def confirm_tokens(settings: Settings) -> None:
    """Raises ConfigError unless there is a chat token."""
    if not (settings.secret("TELEGRAM_TOKEN") or settings.secret("DISCORD_TOKEN")):
        raise ConfigError(
            "tokens",
            "there is no chat token",
            "Put TELEGRAM_TOKEN=... or DISCORD_TOKEN=... into .env, or try `likeness chat`, which needs none",
        )


def chat_platforms(settings: Settings) -> dict[str, Platform]:
    """The platforms that have a token. Raises ConfigError where none has."""
    confirm_tokens(settings)
    platforms: dict[str, Platform] = {}
    if token := settings.secret("TELEGRAM_TOKEN"):
        from bot.platforms.telegram import TelegramPlatform

        secret = settings.secret("TELEGRAM_WEBHOOK_SECRET")
        platforms["telegram"] = TelegramPlatform(token, settings.telegram, COMMANDS, webhook_secret=secret)
    if token := settings.secret("DISCORD_TOKEN"):
        from bot.platforms.discord import DiscordPlatform

        platforms["discord"] = DiscordPlatform(token, settings.discord, COMMANDS, Catalogue.load())
    return platforms


class Application:
    """One chat process. One `run` an instance."""

    def __init__(self, settings: Settings, platforms: Mapping[str, Platform]) -> None:
        confirm_licence(settings)
        self._settings, self._platforms = settings, platforms

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, or until every platform has ended by itself.

        Raises OperatorError when something only the operator can mend keeps it from serving anybody.
        """
        settings = self._settings
        database = Database(settings.database_url)
        wake = WakeUps(settings.redis_dsn)
        try:
            await asyncio.to_thread(database.migrate)
            blobs = await asyncio.to_thread(open_blobs, settings)
            rules, styles = settings.conversation_rules(CONSENT_VERSION), Catalogue.load()
            inbox = Inbox(database, self._platforms, wake, rules, styles, blobs)
            loops = {
                "inbox": inbox.run(),
                "fetching": Fetching(database, blobs, self._platforms, wake, rules).run(),
                "delivery": Delivery(database, blobs, self._platforms).run(),
                "retention": Retention(database, blobs, settings.retention).run(),
            }
            await self._serve(loops, inbox, stop)
        finally:
            for platform in self._platforms.values():
                await platform.close()
            await wake.close()
            database.close()
        log.info("stopped")

    async def _serve(
        self, loops: Mapping[str, Coroutine[Any, Any, None]], inbox: Inbox, stop: asyncio.Event
    ) -> None:
        tasks = {asyncio.create_task(loop, name=name) for name, loop in loops.items()}
        receivers = {
            asyncio.create_task(platform.receive(inbox.accept_for(name)), name=name)
            for name, platform in self._platforms.items()
        }
        stopped = asyncio.create_task(stop.wait())
        log.info("serving", extra={"platforms": ", ".join(self._platforms)})
        try:
            while receivers and not stopped.done():
                done, _ = await asyncio.wait(
                    {stopped, *tasks, *receivers}, return_when=asyncio.FIRST_COMPLETED
                )
                for task in tasks & done:
                    task.result()  # a loop ends only by a failure
                for receiver in receivers & done:
                    receivers.discard(receiver)
                    self._ended(receiver, alone=not receivers)
        finally:
            await _cancel({stopped, *tasks, *receivers})

    @staticmethod
    def _ended(receiver: asyncio.Task[None], *, alone: bool) -> None:
        """A platform whose token is refused stops alone while another one still serves."""
        failure = receiver.exception()
        if failure is None:
            log.info("platform ended", extra={"platform": receiver.get_name()})
        elif alone or not isinstance(failure, OperatorError):
            raise failure
        else:
            log.error("platform stopped: %s", failure, extra={"platform": receiver.get_name()})


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
