"""The test server itself: it must refuse what Telegram refuses, or tests against it prove nothing.

The calls are made with python-telegram-bot's own `Bot`, and by hand where that would not let them through.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, InputMediaDocument, InputMediaPhoto
from telegram.error import BadRequest, ChatMigrated, Conflict, Forbidden, NetworkError, RetryAfter, TimedOut

from tests.servers.telegram_people import Person, TelegramPeople
from tests.servers.telegram_server import TOKEN, running_server

JPEG = b"\xff\xd8\xff\xe0picture"
Bench = tuple[Bot, TelegramPeople, Person]


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setenv("PTB_TIMEDELTA", "true")
    async with running_server() as server, TelegramPeople(server.url) as people:
        bot = Bot(TOKEN, base_url=f"{server.url}/bot", base_file_url=f"{server.url}/file/bot")
        async with bot:
            yield bot, people, await people.person("Ada", "pt")


async def raw(people: TelegramPeople, method: str, **params: Any) -> dict[str, Any]:
    url = str(people._http.base_url).replace("/control/", f"/bot{TOKEN}/{method}")
    answer = await people._http.post(url, json=params)
    return {"status": answer.status_code, **answer.json()}


async def test_updates_come_until_they_are_confirmed(bench: Bench) -> None:
    bot, _, ada = bench
    for word in ("one", "two", "three"):
        await ada.text(word)
    first = await bot.get_updates()
    assert [update.message.text for update in first] == ["one", "two", "three"]
    assert [update.update_id for update in await bot.get_updates()] == [u.update_id for u in first]
    rest = await bot.get_updates(offset=first[1].update_id)
    assert [update.message.text for update in rest] == ["two", "three"]
    assert len(await bot.get_updates(limit=1)) == 1
    assert await bot.get_updates(offset=first[2].update_id + 1) == ()


async def test_long_polling_waits_and_returns_at_once_when_something_comes(bench: Bench) -> None:
    bot, _, ada = bench
    waiting = asyncio.create_task(bot.get_updates(timeout=60))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await ada.text("now")
    async with asyncio.timeout(30):
        assert (await waiting)[0].message.from_user.language_code == "pt"


async def test_the_newer_of_two_pollers_wins(bench: Bench) -> None:
    bot, people, _ = bench
    older = asyncio.create_task(bot.get_updates(timeout=60))
    while not await people.requests("getUpdates"):
        await asyncio.sleep(0.01)
    async with Bot(TOKEN, base_url=bot.base_url.removesuffix(TOKEN)) as second:
        newer = asyncio.create_task(second.get_updates(timeout=10))
        with pytest.raises(Conflict):
            await older
        newer.cancel()


async def test_polling_and_a_webhook_exclude_each_other(bench: Bench) -> None:
    bot, _, _ = bench
    await bot.set_webhook("https://example.org/hook")
    with pytest.raises(Conflict):
        await bot.get_updates()
    await bot.delete_webhook()
    assert await bot.get_updates() == ()
    with pytest.raises(BadRequest):
        await bot.set_webhook("http://example.org/hook")


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("sendMessage", {"text": "x" * 4097}, "too long"),
        ("sendMessage", {"text": "🙂" * 2049}, "too long"),
        ("sendMessage", {"text": "  "}, "text is empty"),
        ("sendMessage", {"text": "x", "chat_id": 1}, "chat not found"),
        ("sendMessage", {"text": "x", "chat_id": ""}, "chat_id is empty"),
        ("editMessageText", {"text": "x", "message_id": 1}, "message to edit not found"),
        ("sendPhoto", {"photo": "unknown-id"}, "wrong file identifier"),
        ("getFile", {"file_id": "unknown"}, "wrong file_id"),
        ("answerCallbackQuery", {"callback_query_id": "1"}, "query is too old"),
        ("setMyCommands", {"commands": [{"command": "Start", "description": "x"}]}, "BOT_COMMAND_INVALID"),
        (
            "setMyCommands",
            {"commands": [{"command": "x", "description": ""}]},
            "BOT_COMMAND_DESCRIPTION_INVALID",
        ),
        ("setMyCommands", {"commands": [{"command": "x", "description": "x"}] * 101}, "TOO_MUCH"),
        ("setMyDescription", {"description": "x" * 513}, "too long"),
        ("setMyShortDescription", {"short_description": "x" * 121}, "too long"),
    ],
)
async def test_limits(bench: Bench, method: str, params: dict[str, Any], words: str) -> None:
    _, people, ada = bench
    sent = {"chat_id": ada.id, **{k: v if isinstance(v, str) else json.dumps(v) for k, v in params.items()}}
    answer = await raw(people, method, **sent)
    assert (answer["status"], answer["ok"]) == (400, False)
    assert words in answer["description"]
    assert await ada.messages() == []


@pytest.mark.parametrize(
    "button",
    [
        {"text": "x", "callback_data": "x" * 65},
        {"text": "x", "callback_data": "🙂" * 17},
        {"text": "x", "callback_data": ""},
        {"text": "", "callback_data": "x"},
        {"text": "x"},
        {"text": "x", "callback_data": "x", "url": "https://t.me"},
        {"text": "x", "url": "no address"},
        {"text": "x", "url": "https://t.me/ABot?start=with space"},
        {"text": "x", "url": "https://t.me/ABot?start=" + "x" * 65},
    ],
)
async def test_buttons_that_telegram_refuses(bench: Bench, button: dict[str, str]) -> None:
    _, people, ada = bench
    markup = json.dumps({"inline_keyboard": [[button]]})
    assert (await raw(people, "sendMessage", chat_id=ada.id, text="x", reply_markup=markup))["status"] == 400


async def test_what_is_allowed_at_the_limit(bench: Bench) -> None:
    bot, _, ada = bench
    buttons = InlineKeyboardMarkup([[InlineKeyboardButton("x", callback_data="x" * 64)]])
    await bot.send_message(ada.id, "x" * 4096, reply_markup=buttons)
    await bot.send_photo(ada.id, JPEG, caption="x" * 1024)
    assert len(await ada.messages()) == 2


async def test_albums_hold_two_to_ten_of_one_kind(bench: Bench) -> None:
    bot, _, ada = bench
    photo, document = InputMediaPhoto(JPEG), InputMediaDocument(b"x", filename="x.bin")
    await bot.send_media_group(ada.id, [photo] * 2)
    await bot.send_media_group(ada.id, [document] * 10)
    for media in ([photo], [photo] * 11, [photo, document]):
        with pytest.raises(BadRequest):
            await bot.send_media_group(ada.id, media)
    assert len(await ada.messages()) == 12


async def test_files_have_their_limits(bench: Bench) -> None:
    bot, _, ada = bench
    with pytest.raises(BadRequest, match="Photo_save_file_invalid"):
        await bot.send_photo(ada.id, JPEG + bytes(10 * 1024 * 1024))
    with pytest.raises(NetworkError, match="Too Large"):
        await bot.send_document(ada.id, bytes(50 * 1024 * 1024 + 1))
    with pytest.raises(BadRequest, match="Image_process_failed"):
        await bot.send_photo(ada.id, b"%PDF-1.7")
    with pytest.raises(BadRequest, match="non-empty"):
        await bot.send_document(ada.id, b"")


async def test_edits(bench: Bench) -> None:
    bot, _, ada = bench
    mine = await bot.send_message(ada.id, "one")
    photo = await bot.send_photo(ada.id, JPEG)
    theirs = await ada.text("hello")
    await bot.edit_message_text("two", ada.id, mine.message_id)
    for text, message_id, words in (
        ("two", mine.message_id, "not modified"),
        ("x", theirs, "can't be edited"),
        ("x", photo.message_id, "no text"),
    ):
        with pytest.raises(BadRequest, match=words):
            await bot.edit_message_text(text, ada.id, message_id)


async def test_faults_do_what_they_say(bench: Bench) -> None:
    bot, people, ada = bench
    await people.throttle("sendMessage", 5)
    with pytest.raises(RetryAfter):
        await bot.send_message(ada.id, "x")
    await people.fault("sendMessage", "swallow", chat_id=ada.id)
    with pytest.raises(TimedOut):
        await bot.send_message(ada.id, "accepted", read_timeout=0.2)
    await people.fault("sendMessage", "ignore")
    with pytest.raises(TimedOut):
        await bot.send_message(ada.id, "ignored", read_timeout=0.2)
    await people.fault("sendMessage", "drop", skip=1)
    await bot.send_message(ada.id, "skipped")
    with pytest.raises(NetworkError):
        await bot.send_message(ada.id, "dropped")
    assert [one.text for one in await ada.messages()] == ["accepted", "skipped"]
    assert (await people.state())["faults"] == []


async def test_people_and_groups_that_cannot_be_reached(bench: Bench) -> None:
    bot, people, ada = bench
    group = await people.group()
    new = await people.migrate(group)
    with pytest.raises(ChatMigrated) as moved:
        await bot.send_message(group, "x")
    assert moved.value.new_chat_id == new
    await ada.block()
    with pytest.raises(Forbidden, match="blocked"):
        await bot.send_message(ada.id, "x")
    await ada.unblock()
    await bot.send_message(ada.id, "x")


async def test_every_request_is_on_record(bench: Bench) -> None:
    bot, people, ada = bench
    await bot.send_photo(ada.id, JPEG, caption="Look", filename="me.jpg")
    (made,) = await people.requests("sendPhoto")
    assert (made["params"]["caption"], made["status"]) == ("Look", 200)
    assert (made["files"][0]["name"], made["files"][0]["size"]) == ("me.jpg", len(JPEG))
    assert TOKEN not in json.dumps(made)


async def test_it_runs_as_a_process_of_its_own() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.servers.telegram_server", "--token", "1:x"]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        url = (await asyncio.to_thread(process.stdout.readline)).strip()
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"{url}/bot1:x/getMe")).json()["result"]["is_bot"]
            assert (await http.get(f"{url}/bot{TOKEN}/getMe")).status_code == 401
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
