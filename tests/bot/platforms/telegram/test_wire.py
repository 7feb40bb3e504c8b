"""Our requests and our server's answers, read by code that is neither ours nor python-telegram-bot's.

aiogram (PyPI, MIT) models every method and type of the Bot API with pydantic. What the platform puts on the
wire must be a call of those methods with no parameter left over, and what the test server answers must be
messages and updates as aiogram knows them.
"""

import json
from typing import Any

import pytest

from tests.bot.platforms.telegram.kit import message, photo, picture, receiving, row, telegram
from tests.servers.telegram_people import Message, Person, TelegramPeople

aiogram = pytest.importorskip("aiogram", reason="aiogram is not installed: nobody else reads our requests")

STRUCTURED = ("reply_markup", "media", "commands", "scope", "link_preview_options", "allowed_updates")
FILES = {"sendPhoto": "photo", "sendDocument": "document"}


def read_call(made: dict[str, Any]) -> Any:
    """A recorded request as aiogram's method. Raises if it is none, or if a parameter is unknown."""
    name = made["method"]
    model = getattr(aiogram.methods, name[0].upper() + name[1:])
    values = {key: json.loads(v) if key in STRUCTURED else v for key, v in made["params"].items()}
    uploads = {file["field"] for file in made["files"]}
    if name in FILES and FILES[name] in uploads:
        values[FILES[name]] = "attach://upload"
    call = model.model_validate(values)
    assert set(values) <= set(model.model_fields), f"{name} knows no {set(values) - set(model.model_fields)}"
    for item in values.get("media", ()):
        assert item["media"].removeprefix("attach://") in uploads
    return call


async def everything_at_once(people: TelegramPeople, ada: Person, platform: Any) -> None:
    buttons = row(("Train", "train", ""), ("Here", "private", "x y"))
    async with receiving(platform) as inbox:
        await ada.text("/start x")
        await ada.album([picture(1), picture(2)])
        await ada.document(picture(3), "me.heic", "image/heic")
        (card,) = await platform.send([message(ada, "10 %", buttons=buttons)])
        await platform.send([message(ada, "20 %", buttons=buttons, edit=card.message)])
        await platform.send([message(ada, "One", attachments=(photo(4),), buttons=buttons)])
        await platform.send([message(ada, "File", attachments=(photo(5, as_file=True),))])
        await platform.send([message(ada, f"{n}", attachments=(photo(n),)) for n in range(3)])
        await platform.send([message(ada, "", attachments=(photo(n, as_file=True),)) for n in range(2)])
        await ada.press("Train")
        await ada.block()
        await ada.unblock()
        incoming = await inbox.wait(6)
        await platform.fetch(incoming[1].event.photos[0], 10**6)


async def test_every_request_is_one_that_aiogram_knows() -> None:
    async with telegram() as (platform, people, ada):
        await everything_at_once(people, ada, platform)
        made = await people.requests("getUpdates") + await people.requests()
        methods = {type(read_call(one)).__name__ for one in made}
    wanted = (
        "GetMe GetUpdates DeleteWebhook SetMyCommands GetMyCommands SendMessage EditMessageText SendPhoto"
    )
    assert methods >= {*wanted.split(), "SendDocument", "SendMediaGroup", "GetFile", "AnswerCallbackQuery"}


async def test_the_test_servers_messages_and_updates_are_telegrams() -> None:
    async with telegram() as (platform, people, ada):
        async with receiving(platform) as inbox:
            await ada.text("/start x")
            await ada.photo(picture(1), "look")
            await ada.document(picture(3), "me.heic", "image/heic")
            await platform.send([message(ada, "10 %", buttons=row(("Train", "train", "")))])
            await platform.send([message(ada, f"{n}", attachments=(photo(n),)) for n in range(3)])
            await ada.press("Train")
            await ada.block()
            await inbox.wait(5)
        for raw in inbox.raw.values():
            update = {key: value for key, value in raw.payload.items() if key != "bot_username"}
            assert aiogram.types.Update.model_validate(update, strict=False).event
        for sent in await people.call("messages", chat_id=ada.id):
            model = aiogram.types.Message.model_validate(sent)
            assert not model.model_extra, f"no such fields: {model.model_extra}"
        assert all(isinstance(one, Message) for one in await ada.messages())
