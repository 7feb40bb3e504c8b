"""Calls over real HTTP: what is sent arrives, and what fails says so without the address."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from aiohttp import web
from telegram._files.inputfile import InputFile
from telegram._utils.types import JSONDict
from telegram.error import NetworkError, TimedOut
from telegram.request import RequestData
from telegram.request._requestparameter import RequestParameter

from bot.platforms.telegram.requesting import AiohttpRequest


@pytest.fixture
async def request_() -> AsyncIterator[AiohttpRequest]:
    request = AiohttpRequest(httpx.create_ssl_context(), connections=2)
    yield request
    await request.shutdown()
    await request.shutdown()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A server that says what it was sent; it never answers on /silent."""

    leaving = asyncio.Event()

    async def echo(request: web.Request) -> web.Response:
        form = await request.post()
        said: JSONDict = {
            name: [value.filename, value.content_type, value.file.read().decode("latin-1")]
            if isinstance(value, web.FileField)
            else value
            for name, value in form.items()
        }
        return web.json_response({"ok": True, "result": said}, status=200)

    async def silent(request: web.Request) -> web.Response:
        await leaving.wait()
        return web.Response()

    app = web.Application(client_max_size=20 << 20)
    app.add_routes([web.post("/secret/echo", echo), web.post("/secret/silent", silent)])
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}/secret"
    yield address
    leaving.set()
    await runner.cleanup()


async def test_words_and_files_arrive(request_: AiohttpRequest, url: str) -> None:
    words = RequestParameter.from_input("text", "ä & 👋")
    assert await request_.post(f"{url}/echo", RequestData([words])) == {"text": "ä & 👋"}
    large = RequestParameter.from_input("file", InputFile(bytes(3 << 20), filename="b.bin"))
    said = await request_.post(f"{url}/echo", RequestData([large]))
    assert isinstance(said, dict)
    assert len(said["file"][2]) == 3 << 20
    file = RequestParameter.from_input("photo", InputFile(b"\xff\xd8\x00", filename="a.jpg"))
    said = await request_.post(f"{url}/echo", RequestData([words, file]))
    assert isinstance(said, dict)
    assert said["text"] == "ä & 👋"
    assert said["photo"] == ["a.jpg", "image/jpeg", "\xff\xd8\x00"]


async def test_no_answer_and_no_server_without_the_address(request_: AiohttpRequest, url: str) -> None:
    with pytest.raises(TimedOut) as late:
        await request_.post(f"{url}/silent", read_timeout=0.05)
    with pytest.raises(NetworkError) as refused:
        await request_.post("http://127.0.0.1:9/secret/x")
    assert not any("secret" in repr(error.value) for error in (late, refused))


async def test_the_environments_proxy_is_used_but_for_what_it_leaves_out(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    root = url.removesuffix("/secret")
    monkeypatch.setenv("http_proxy", root)  # a server like any other takes what is meant for a proxy
    request = AiohttpRequest(httpx.create_ssl_context(), connections=2)
    words = RequestData([RequestParameter.from_input("text", "through it")])
    try:
        said = await request.post("http://no.such.host.invalid/secret/echo", words)
        assert said == {"text": "through it"}
        monkeypatch.setenv("no_proxy", "other.invalid")
        with pytest.raises(NetworkError):
            await request.post("http://other.invalid/secret/echo", words)
    finally:
        await request.shutdown()
