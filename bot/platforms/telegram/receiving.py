"""Updates from Telegram, by long polling or webhook: committed first, confirmed afterwards.

python-telegram-bot's own Updater confirms an update before anybody has handled it, so a killed process loses
it; here the next offset, or the webhook's 200, waits for `accept`. Updates stay the JSON that came in: one
that the library could not read must not stop those behind it.
"""

import asyncio
import hmac
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from telegram import Bot
from telegram.error import Conflict, InvalidToken, RetryAfter, TelegramError
from telegram.request import BaseRequest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from bot.config import TelegramSettings
from bot.errors import ConfigError, OperatorError
from bot.platforms.telegram.faults import bad_token, retry_seconds

POLL_SECONDS = 25
CONFLICT_SECONDS = 10.0
BACKOFF_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
ALLOWED_UPDATES = ["message", "callback_query", "my_chat_member"]
UPDATE_MAX_BYTES = 1024 * 1024
WEBHOOK_PATH = "/telegram"

T = TypeVar("T")
Take = Callable[[Sequence[dict[str, Any]]], Awaitable[None]]
log = logging.getLogger(__name__)


async def insist(call: Callable[[], Awaitable[T]], doing: str) -> T:
    """The result of `call`, however long the network fails. Raises OperatorError on a bad token."""
    failures = 0
    while True:
        try:
            return await call()
        except InvalidToken:
            raise bad_token() from None
        except RetryAfter as error:
            wait, problem = retry_seconds(error), "throttled"
        except Conflict as error:
            wait = CONFLICT_SECONDS
            problem = f"another process receives this bot's messages, stop one of the two ({error.message})"
        except TelegramError as error:
            wait, problem = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)], error.message
        failures += 1
        log.warning("Telegram, %s: %s; again in %.0f s", doing, problem, wait)
        await asyncio.sleep(wait)


async def poll(bot: Bot, request: BaseRequest, take: Take) -> None:
    """Take what each call brings, for ever; it is confirmed only after `take` returned."""
    await insist(lambda: bot.delete_webhook(drop_pending_updates=False), "leaving webhook mode")
    offset = 0
    while True:
        query = urlencode(
            {"offset": offset, "timeout": POLL_SECONDS, "allowed_updates": json.dumps(ALLOWED_UPDATES)}
        )
        url = f"{bot.base_url}/getUpdates?{query}"
        updates = await insist(
            lambda url=url: request.post(url, read_timeout=POLL_SECONDS + 10.0),  # type: ignore[misc]
            "receiving",
        )
        if isinstance(updates, list) and updates:
            await take(updates)
            offset = int(updates[-1]["update_id"]) + 1


async def serve(bot: Bot, settings: TelegramSettings, secret: str, take: Take) -> None:
    """Listen for Telegram's calls until cancelled; each is answered only after `take` returned."""
    _check_address(settings)
    hook = Application([(WEBHOOK_PATH, _Hook, {"take": take, "secret": secret})], log_function=_log_request)
    server = HTTPServer(hook, max_buffer_size=UPDATE_MAX_BYTES)
    server.add_socket(_listening(settings.webhook_listen, settings.webhook_port))
    url = settings.webhook_url.rstrip("/") + WEBHOOK_PATH
    try:
        await insist(
            lambda: bot.set_webhook(url, secret_token=secret, allowed_updates=ALLOWED_UPDATES),
            "announcing the webhook",
        )
        await asyncio.Event().wait()
    finally:
        server.stop()
        await server.close_all_connections()


def _check_address(settings: TelegramSettings) -> None:
    own_server = settings.api_url != TelegramSettings().api_url  # may call plain http on its own network
    if not settings.webhook_url.startswith(("https://", "http://") if own_server else "https://"):
        raise ConfigError(
            "telegram.webhook_url",
            "webhook mode needs the public https:// address that Telegram can call",
            "Set it, or set mode to polling",
        )


def _listening(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listening = socket.create_server((address, port), family=family, backlog=128)
    except OSError as error:
        raise OperatorError(
            f"Cannot listen on {address}, port {port}: {error.strerror}. Change [telegram] webhook_listen or "
            "webhook_port, or stop what uses the port."
        ) from None
    listening.setblocking(False)
    return listening


class _Hook(RequestHandler):
    """Telegram's call with one update. Anything but 2xx makes Telegram call again."""

    def initialize(self, take: Take, secret: str) -> None:
        self._take, self._secret = take, secret

    async def post(self) -> None:
        given = self.request.headers.get("X-Telegram-Bot-Api-Secret-Token", "")
        if not hmac.compare_digest(given.encode(), self._secret.encode()):
            self.set_status(403)
            return
        try:
            update = json.loads(self.request.body)
            update["update_id"] = int(update["update_id"])
        except (ValueError, KeyError, TypeError):
            self.set_status(400)
            return
        await self._take([update])


def _log_request(handler: RequestHandler) -> None:
    log.debug("webhook answered %s", handler.get_status())
