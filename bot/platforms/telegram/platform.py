"""The Telegram platform: puts receiving, translating, sending and fetching together for one bot."""

import asyncio
import hashlib
import logging
import os
from collections.abc import Sequence
from typing import Any

import httpx
from telegram import Bot
from telegram.constants import FloodLimit
from telegram.error import InvalidToken, TelegramError

from bot.config import TelegramSettings
from bot.conversation.types import FileRef, Incoming
from bot.platforms.base import Accept, Capabilities, CommandInfo, Outgoing, Receipt
from bot.platforms.telegram import markup, receiving, registering, sending, translating
from bot.platforms.telegram.faults import bad_token
from bot.platforms.telegram.fetching import Fetcher
from bot.platforms.telegram.requesting import AiohttpRequest

CAPABILITIES = Capabilities(
    text_max=markup.TEXT_MAX,
    caption_max=markup.CAPTION_MAX,
    album_max=sending.ALBUM_MAX,
    file_max_bytes=markup.FILE_MAX_BYTES,
    can_edit=True,
    edit_interval_seconds=3.0,
    chat_interval_seconds=1.0 / FloodLimit.MESSAGES_PER_SECOND_PER_CHAT,
    group_per_minute=int(FloodLimit.MESSAGES_PER_MINUTE_PER_GROUP),
    total_per_second=float(FloodLimit.MESSAGES_PER_SECOND),
)
CONNECTIONS = 32

log = logging.getLogger(__name__)


class TelegramPlatform:
    """One bot on Telegram; a `bot.platforms.base.Platform`. Raises OperatorError on an empty token."""

    def __init__(
        self,
        token: str,
        settings: TelegramSettings,
        commands: Sequence[CommandInfo],
        *,
        webhook_secret: str = "",
    ) -> None:
        _prepare_libraries()
        self._settings, self._commands = settings, commands
        self._known = frozenset(command.name for command in commands)
        self._secret = webhook_secret or _derived_secret(token)
        certificates = httpx.create_ssl_context()  # slow to load, so loaded once
        self._polling = AiohttpRequest(certificates, connections=2)
        api = settings.api_url.rstrip("/")
        try:
            self._bot = Bot(
                token,
                base_url=f"{api}/bot",
                base_file_url=f"{api}/file/bot",
                get_updates_request=self._polling,
                request=AiohttpRequest(certificates, CONNECTIONS),
            )
        except InvalidToken:
            raise bad_token() from None
        self._sender = sending.Sender(self._bot, self._username)
        self._fetcher = Fetcher(self._bot, certificates)
        self._name = ""
        self._answers: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """`telegram`"""
        return translating.NAME

    @property
    def capabilities(self) -> Capabilities:
        """The Bot API's limits."""
        return CAPABILITIES

    async def receive(self, accept: Accept) -> None:
        """See `Platform.receive`. A failure of `accept` ends polling, and the update stays unconfirmed."""
        username = await receiving.insist(self._username, "connecting")
        await self._register()

        async def take(updates: Sequence[dict[str, Any]]) -> None:
            await accept(*(raw for update in updates for raw in translating.raw_updates(update, username)))
            for update in updates:
                if "callback_query" in update:
                    task = asyncio.create_task(self._answer(update["callback_query"]["id"]))
                    self._answers.add(task)
                    task.add_done_callback(self._answers.discard)

        if self._settings.mode == "webhook":
            await receiving.serve(self._bot, self._settings, self._secret, take)
        else:
            await receiving.poll(self._bot, self._polling, take)

    def translate(self, payload: dict[str, Any]) -> Incoming | None:
        """See `Platform.translate`."""
        return translating.translate(payload, self._known)

    async def send(self, items: Sequence[Outgoing]) -> list[Receipt]:
        """See `Platform.send`."""
        return await self._sender.send(items)

    async def fetch(self, file: FileRef, max_bytes: int) -> bytes:
        """See `Platform.fetch`."""
        return await self._fetcher.fetch(file, max_bytes)

    async def close(self) -> None:
        """See `Platform.close`."""
        for task in self._answers:
            task.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)
        await self._fetcher.close()
        await asyncio.gather(self._bot.request.shutdown(), self._polling.shutdown())

    async def _username(self) -> str:
        if not self._name:
            self._name = (await self._bot.get_me()).username or ""
        return self._name

    async def _register(self) -> None:
        """What is written to the profile is worth a try, not a stop."""
        try:
            await registering.register(self._bot, self._commands)
        except TelegramError as error:
            log.warning("Telegram did not take the commands or descriptions: %s", error.message)

    async def _answer(self, query_id: str) -> None:
        """Stop the button's spinner. Too late is no harm."""
        try:
            await self._bot.answer_callback_query(query_id)
        except TelegramError as error:
            log.debug("a button press was not answered: %s", error.message)


def _derived_secret(token: str) -> str:
    """A webhook secret that needs no setting and is the same after a restart."""
    return hashlib.sha256(b"likeness webhook " + token.encode()).hexdigest()


def _prepare_libraries() -> None:
    """Keep tokens and texts out of the logs, and durations as timedelta.

    httpx logs every URL at INFO and python-telegram-bot every parameter at DEBUG; the Bot API has the token
    in its URLs. PTB_TIMEDELTA is the library's own switch for what its next version does always.
    """
    for library in ("httpx", "httpcore"):
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.getLogger("telegram").setLevel(logging.INFO)
    os.environ.setdefault("PTB_TIMEDELTA", "true")
