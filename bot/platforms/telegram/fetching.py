"""A file that a person sent, from its file id to its bytes."""

import ssl

import httpx
from telegram import Bot
from telegram.error import BadRequest, InvalidToken, RetryAfter, TelegramError

from bot.conversation.types import FileRef
from bot.errors import FetchImpossible, FetchLater
from bot.platforms.telegram.faults import NETWORK_RETRY_SECONDS, TOKEN_RETRY_SECONDS, retry_seconds

UNAVAILABLE_RETRY_SECONDS = 30.0
_NOT_FOUND = 404


class Fetcher:
    """Downloads for one bot. Telegram serves at most 20 MB a file, by links that live for an hour."""

    def __init__(self, bot: Bot, certificates: ssl.SSLContext) -> None:
        self._bot = bot
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(30.0, connect=10.0), verify=certificates)

    async def fetch(self, file: FileRef, max_bytes: int) -> bytes:
        """See `Platform.fetch`."""
        if file.size_bytes > max_bytes:
            raise FetchImpossible("too_large")
        for _ in range(2):  # a dead link is asked for once more
            data = await self._download(await self._link(file), max_bytes)
            if data is not None:
                return data
        raise FetchLater(UNAVAILABLE_RETRY_SECONDS, "the link is dead")

    async def close(self) -> None:
        """Disconnect."""
        await self._http.aclose()

    async def _link(self, file: FileRef) -> str:
        try:
            return (await self._bot.get_file(str(file.handle["file_id"]))).file_path or ""
        except RetryAfter as error:
            raise FetchLater(retry_seconds(error), "throttled") from None
        except BadRequest as error:
            reason = error.message.lower()
            if "too big" in reason:
                raise FetchImpossible("too_large") from None
            if "temporarily unavailable" in reason:  # also said of ids that are wrong: attempts are counted
                raise FetchLater(UNAVAILABLE_RETRY_SECONDS, error.message) from None
            raise FetchImpossible("gone") from None
        except InvalidToken:
            raise FetchLater(TOKEN_RETRY_SECONDS, "the token was refused") from None
        except TelegramError as error:
            raise FetchLater(NETWORK_RETRY_SECONDS, error.message) from None

    async def _download(self, link: str, max_bytes: int) -> bytes | None:
        """The bytes, or None where the link is dead. The link holds the token: no message may."""
        received = bytearray()
        try:
            async with self._http.stream("GET", link) as answer:
                if answer.status_code == _NOT_FOUND:
                    return None
                if not answer.is_success:
                    raise FetchLater(NETWORK_RETRY_SECONDS, f"download answered {answer.status_code}")
                async for chunk in answer.aiter_bytes():
                    received += chunk
                    if len(received) > max_bytes:
                        raise FetchImpossible("too_large")
        except httpx.HTTPError as error:
            raise FetchLater(NETWORK_RETRY_SECONDS, type(error).__name__) from None
        return bytes(received)
