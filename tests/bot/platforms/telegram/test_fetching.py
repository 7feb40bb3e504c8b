"""Files that people sent, over real HTTP."""

import asyncio

import pytest

from bot.conversation.types import FileRef, PhotosSent
from bot.errors import FetchImpossible, FetchLater
from tests.bot.platforms.telegram.kit import picture, receiving, telegram
from tests.servers.telegram_people import Person

MB = 1024 * 1024


async def sent_files(platform, ada: Person, *photos: bytes) -> list[FileRef]:
    async with receiving(platform) as inbox:
        for data in photos:
            await ada.document(data, "me.png", "image/png")
        events = [incoming.event for incoming in await inbox.wait(len(photos))]
        return [event.photos[0] for event in events if isinstance(event, PhotosSent)]


async def test_large_files_arrive_byte_by_byte() -> None:
    async with telegram() as (platform, _, ada):
        data = picture(1, 15 * MB)
        (file,) = await sent_files(platform, ada, data)
        assert (file.size_bytes, file.name, file.mime) == (len(data), "me.png", "image/png")
        assert await platform.fetch(file, 20 * MB) == data


async def test_what_telegram_does_not_serve_is_too_large() -> None:
    async with telegram() as (platform, _, ada):
        (file,) = await sent_files(platform, ada, picture(1, 21 * MB))
        with pytest.raises(FetchImpossible, match="too_large"):
            await platform.fetch(file, 100 * MB)


async def test_a_dead_link_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with telegram() as (platform, people, ada):
        (file,) = await sent_files(platform, ada, picture(1))
        links = []
        ask = platform._fetcher._link

        async def link_that_dies(file: FileRef) -> str:
            links.append(await ask(file))
            if len(links) == 1:
                await people.call("expire")
            return links[-1]

        monkeypatch.setattr(platform._fetcher, "_link", link_that_dies)
        assert await platform.fetch(file, MB) == picture(1)
        assert len(links) == 2


async def test_a_link_that_stays_dead_is_tried_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async with telegram() as (platform, _, ada):
        (file,) = await sent_files(platform, ada, picture(1))
        dead = (await platform._fetcher._link(file)).replace("/files/0/", "/files/9/")

        async def dead_link(file: FileRef) -> str:
            return dead

        monkeypatch.setattr(platform._fetcher, "_link", dead_link)
        with pytest.raises(FetchLater):
            await platform.fetch(file, MB)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"code": 429, "description": "Too Many", "parameters": {"retry_after": 9}}, FetchLater),
        ({"code": 502, "description": "Bad Gateway"}, FetchLater),
        ({"kind": "drop"}, FetchLater),
        ({"code": 401, "description": "Unauthorized"}, FetchLater),
        (
            {"description": "Bad Request: wrong file_id or the file is temporarily unavailable"},
            FetchLater,
        ),
        ({"description": "Bad Request: invalid file_id"}, FetchImpossible),
        ({"description": "Bad Request: file is too big"}, FetchImpossible),
    ],
)
async def test_refusals_by_whether_time_mends_them(fault: dict, error: type[Exception]) -> None:
    async with telegram() as (platform, people, ada):
        (file,) = await sent_files(platform, ada, picture(1))
        await people.fault("getFile", **fault)
        with pytest.raises(error):
            await platform.fetch(file, MB)
        assert await platform.fetch(file, MB) == picture(1)


@pytest.mark.parametrize("fault", [{"kind": "drop"}, {"code": 500, "description": "oops"}])
async def test_a_download_that_breaks_in_the_middle_is_not_half_a_photo(fault: dict) -> None:
    async with telegram() as (platform, people, ada):
        (file,) = await sent_files(platform, ada, picture(1, 3 * MB))
        await people.fault("download", **fault)
        with pytest.raises(FetchLater) as later:
            await platform.fetch(file, 4 * MB)
        assert "bot7000000001" not in str(later.value)
        assert await platform.fetch(file, 4 * MB) == picture(1, 3 * MB)


async def test_many_at_once() -> None:

    async with telegram() as (platform, _, ada):
        sent = [picture(n) for n in range(40)]
        files = await sent_files(platform, ada, *sent)
        assert await asyncio.gather(*(platform.fetch(file, MB) for file in files)) == sent
