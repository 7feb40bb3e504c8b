"""A file that a person sent: downloaded from Discord's servers by the address that came with it.

Addresses are signed and live for about a day; nothing can renew those of an interaction.
"""

import ssl

import httpx

from bot.conversation.types import FileRef
from bot.errors import FetchImpossible, FetchLater
from bot.platforms.discord.faults import NETWORK_RETRY_SECONDS

_GONE = (401, 403, 404, 410)
_THROTTLED = 429


class Fetcher:
    """Downloads for one bot."""

    def __init__(self, certificates: ssl.SSLContext) -> None:
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(30.0, connect=10.0), verify=certificates)

    async def fetch(self, file: FileRef, max_bytes: int) -> bytes:
        """See `Platform.fetch`."""
        if file.size_bytes > max_bytes:
            raise FetchImpossible("too_large")
        received = bytearray()
        try:
            async with self._http.stream("GET", str(file.handle["url"])) as answer:
                _check(answer)
                async for chunk in answer.aiter_bytes():
                    received += chunk
                    if len(received) > max_bytes:
                        raise FetchImpossible("too_large")
        except httpx.HTTPError as error:
            raise FetchLater(NETWORK_RETRY_SECONDS, type(error).__name__) from None
        return bytes(received)

    async def close(self) -> None:
        """Disconnect."""
        await self._http.aclose()


def _check(answer: httpx.Response) -> None:
    if answer.status_code in _GONE:
        raise FetchImpossible("gone")
    if answer.status_code == _THROTTLED:
        after = answer.headers.get("Retry-After", "")
        raise FetchLater(float(after) if after.isdigit() else NETWORK_RETRY_SECONDS, "throttled")
    if not answer.is_success:
        raise FetchLater(NETWORK_RETRY_SECONDS, f"download answered {answer.status_code}")
