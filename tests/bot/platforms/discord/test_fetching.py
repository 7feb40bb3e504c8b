"""Downloads from Discord's file server."""

import asyncio

import httpx
import pytest

from bot.conversation.types import FileRef, PhotosSent
from bot.errors import FetchImpossible, FetchLater
from bot.platforms.discord.fetching import Fetcher
from tests.bot.platforms.discord.kit import Stage, picture, stage


async def a_photo(here: Stage) -> FileRef:
    await here.ada.command("selfies", photos=[picture(1, 50_000)])
    event = (await here.last()).event
    assert isinstance(event, PhotosSent)
    return event.photos[0]


async def test_the_bytes_as_they_were_sent() -> None:
    async with stage() as here:
        assert await here.platform.fetch(await a_photo(here), 60_000) == picture(1, 50_000)


async def test_too_large_by_what_is_said_and_by_what_comes() -> None:
    async with stage() as here:
        photo = await a_photo(here)
        for size in (photo.size_bytes, 0):
            with pytest.raises(FetchImpossible, match="too_large"):
                await here.platform.fetch(FileRef("1", photo.handle, size), 10_000)


async def test_an_address_that_ran_out_is_gone() -> None:
    async with stage() as here:
        photo = await a_photo(here)
        await here.people.call("expire_files")
        with pytest.raises(FetchImpossible, match="gone"):
            await here.platform.fetch(photo, 60_000)


async def test_trouble_is_mended_by_time() -> None:
    async with stage() as here:
        photo = await a_photo(here)
        await here.people.fault("GET /files/*", status=503)
        with pytest.raises(FetchLater):
            await here.platform.fetch(photo, 60_000)
        await here.people.fault("GET /files/*", status=429, headers={"Retry-After": "9"})
        with pytest.raises(FetchLater) as later:
            await here.platform.fetch(photo, 60_000)
        assert later.value.after_seconds == 9
        assert await here.platform.fetch(photo, 60_000) == picture(1, 50_000)


async def test_no_network() -> None:
    fetcher = Fetcher(httpx.create_ssl_context())
    with pytest.raises(FetchLater):
        await fetcher.fetch(FileRef("1", {"url": "http://127.0.0.1:9/x"}), 10)
    await asyncio.gather(fetcher.close(), fetcher.close())
