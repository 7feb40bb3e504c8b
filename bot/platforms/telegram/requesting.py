"""Calls of the Bot API over aiohttp, in place of the library's own httpx.

A fifth of the chat process's time in a burst of messages went into httpx; see docs/log.md.
"""

import io
import ssl
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from telegram.error import NetworkError, TimedOut
from telegram.request import BaseRequest, RequestData

CONNECT_SECONDS, READ_SECONDS = 10.0, 20.0
CALL_SECONDS, UPLOAD_SECONDS = 90.0, 600.0  # a whole call, waiting for a free connection included
Given = Any  # seconds, None for no limit, or the library's word for "the default"


class AiohttpRequest(BaseRequest):
    """`connections` calls at once; others wait. Errors name their kind only: an address holds the token."""

    def __init__(self, certificates: ssl.SSLContext, connections: int) -> None:
        self._certificates, self._connections = certificates, connections
        self._session: aiohttp.ClientSession | None = None
        self._proxies: dict[str, str | None] = {}  # by scheme and host

    @property
    def read_timeout(self) -> float:
        """Seconds."""
        return READ_SECONDS

    async def initialize(self) -> None:
        """Nothing to do: the session opens with the first call."""

    async def shutdown(self) -> None:
        """Disconnect; safe to call twice."""
        if self._session is not None:
            await self._session.close()

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: Given = BaseRequest.DEFAULT_NONE,
        write_timeout: Given = BaseRequest.DEFAULT_NONE,
        connect_timeout: Given = BaseRequest.DEFAULT_NONE,
        pool_timeout: Given = BaseRequest.DEFAULT_NONE,
    ) -> tuple[int, bytes]:
        """Status and body. Raises telegram.error.TimedOut and NetworkError.

        Writing, and waiting for a free connection, are limited by the time of the whole call alone.
        """
        timeout = aiohttp.ClientTimeout(
            total=UPLOAD_SECONDS if request_data and request_data.multipart_data else CALL_SECONDS,
            sock_connect=_seconds(connect_timeout, CONNECT_SECONDS),
            sock_read=_seconds(read_timeout, READ_SECONDS),  # counts from the end of the upload
        )
        try:
            session, body = self._opened(), _body(request_data)
            proxy = self._proxy(url)
            async with session.request(method, url, data=body, timeout=timeout, proxy=proxy) as response:
                return response.status, await response.read()
        except TimeoutError as error:
            raise TimedOut(type(error).__name__) from None
        except (aiohttp.ClientError, OSError) as error:
            raise NetworkError(type(error).__name__) from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(ssl=self._certificates, limit=self._connections)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": self.USER_AGENT},
            )
        return self._session

    def _proxy(self, url: str) -> str | None:
        """The environment's, looked up once. aiohttp's own `trust_env` would look for it, and for a .netrc,
        on a thread and before every call."""
        address = urlsplit(url)
        where = f"{address.scheme}://{address.netloc}"
        if where not in self._proxies:
            avoided = proxy_bypass(address.netloc)
            self._proxies[where] = None if avoided else getproxies().get(address.scheme)
        return self._proxies[where]


def _body(data: RequestData | None) -> aiohttp.FormData | dict[str, str] | None:
    if data is None:
        return None
    if not data.multipart_data:
        return dict(data.json_parameters)
    form = aiohttp.FormData(data.json_parameters)
    for name, (filename, content, mime) in data.multipart_data.items():
        # As a stream: aiohttp would write bytes in one piece, and everybody else waits meanwhile.
        form.add_field(
            name,
            io.BytesIO(content) if isinstance(content, bytes) else content,
            filename=filename,
            content_type=mime,
        )
    return form


def _seconds(given: Given, usual: float) -> float | None:
    return usual if given is BaseRequest.DEFAULT_NONE else given
