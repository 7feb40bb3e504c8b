"""The platform as a whole: its token, its answers to buttons, its connections."""

import asyncio

import pytest

from bot.config import TelegramSettings
from bot.conversation.types import Choice, Text
from bot.errors import OperatorError
from bot.platforms.telegram import TelegramPlatform
from tests.bot.platforms.telegram import kit


@pytest.mark.parametrize("token", ["1:wrong", "nonsense"])
async def test_a_wrong_token_is_the_operators_to_mend(token: str) -> None:
    async with kit.telegram(token=token) as (platform, _, _):
        with pytest.raises(OperatorError, match="@BotFather") as wrong:
            await platform.receive(lambda update: asyncio.sleep(0))
        assert token not in str(wrong.value)


def test_an_empty_token_is_the_operators_to_mend() -> None:
    with pytest.raises(OperatorError, match="@BotFather"):
        TelegramPlatform("", TelegramSettings(), ())


async def test_a_button_is_answered_at_once_and_a_late_answer_harms_nobody() -> None:
    async with kit.telegram() as (platform, people, ada), kit.receiving(platform) as inbox:
        await platform.send([kit.message(ada, "Choose", buttons=kit.row(("Go", "train", "")))])
        await people.fault(
            "answerCallbackQuery", description="Bad Request: query is too old and response timeout expired"
        )
        await ada.press("Go")
        await ada.press("Go")
        assert [incoming.event for incoming in await inbox.wait(2)] == [Choice("train")] * 2
        async with asyncio.timeout(5):
            while sorted((await people.state())["callbacks"].values()) != [0, 1]:
                await asyncio.sleep(0.01)


async def test_a_slow_callback_answer_holds_nothing_up() -> None:
    async with kit.telegram() as (platform, people, ada), kit.receiving(platform) as inbox:
        await platform.send([kit.message(ada, "Choose", buttons=kit.row(("Go", "train", "")))])
        await people.fault("answerCallbackQuery", "ignore")
        await ada.press("Go")
        await ada.text("next")
        assert (await inbox.wait(2, timeout=2))[1].event == Text("next")


async def test_it_sends_before_it_receives() -> None:
    """What waits in the outbox goes out at once after a start, links into the private chat included."""
    async with kit.telegram() as (platform, _, ada):
        await platform.send([kit.message(ada, "Come", buttons=kit.row(("Open", "private", "x")))])
        (sent,) = await ada.messages()
        assert sent.buttons[0].url == "https://t.me/LikenessTestBot?start=x"


async def test_it_closes_while_it_waits() -> None:
    async with kit.telegram() as (platform, people, ada), kit.receiving(platform) as inbox:
        await platform.send([kit.message(ada, "Choose", buttons=kit.row(("Go", "train", "")))])
        await people.fault("answerCallbackQuery", "ignore")
        await ada.press("Go")
        await inbox.wait(1)
        async with asyncio.timeout(2):
            await platform.close()


def test_the_limits_are_telegrams() -> None:
    limits = TelegramPlatform("1:x", TelegramSettings(), ()).capabilities
    assert (limits.text_max, limits.caption_max, limits.album_max) == (4096, 1024, 10)
    assert (limits.file_max_bytes, limits.can_edit) == (50_000_000, True)
    assert (limits.chat_interval_seconds, limits.group_per_minute, limits.total_per_second) == (1.0, 20, 30.0)
