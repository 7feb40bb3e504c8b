"""What the bot says, and who sees it where."""

import pytest

from bot.conversation.types import Button, Incoming, Place
from bot.errors import SendImpossible, SendLater, SendRefused
from bot.platforms.base import Outgoing
from bot.platforms.discord.markup import FILE_MAX_BYTES
from tests.bot.platforms.discord.kit import Stage, answer, buttons, files, outgoing, picture, stage

DEAD_SECONDS = 16 * 60


async def asked(here: Stage, *, private: bool = False, number: int = 1) -> Incoming:
    """Ada asks in the channel, or in her direct messages."""
    await here.ada.command("status", channel="" if private else here.channel)
    return await here.last(number)


def later(here: Stage, text: str = "Ready", **fields: object) -> Outgoing:
    """Something nobody asked for just now, for Ada's direct messages."""
    return outgoing(here.ada.id, Place("discord", here.ada.id, private=True), text, **fields)


def in_channel(here: Stage, text: str = "Ready", **fields: object) -> Outgoing:
    return outgoing(here.ada.id, Place("discord", here.channel, private=False), text, **fields)


def texts(messages: list) -> list[str]:
    return [message.text for message in messages]


# ---------------------------------------------------------------- by token


async def test_the_first_answer_replaces_the_waiting_line_and_the_next_follow() -> None:
    async with stage() as here:
        incoming = await asked(here)
        assert [each.thinking for each in await here.ada.messages(here.channel)] == [True]
        await here.platform.send([answer(incoming, "One")])
        await here.platform.send([answer(incoming, "Two")])
        seen = await here.ada.messages(here.channel)
        assert texts(seen) == ["One", "Two"]
        assert [(each.thinking, each.whisper) for each in seen] == [(False, True)] * 2


async def test_nobody_else_sees_a_whisper() -> None:
    async with stage() as here:
        grace = await here.people.person("Grace")
        incoming = await asked(here)
        await here.platform.send([answer(incoming, attachments=files(picture(1)))])
        assert await grace.messages(here.channel) == []
        assert (await here.ada.messages(here.channel))[0].pictures


async def test_what_everybody_may_see_takes_the_waiting_line_away() -> None:
    async with stage() as here:
        grace = await here.people.person("Grace")
        incoming = await asked(here)
        await here.platform.send([answer(incoming, "For all", whisper=False)])
        assert texts(await here.ada.messages(here.channel)) == ["For all"]
        assert texts(await grace.messages(here.channel)) == ["For all"]


async def test_in_direct_messages_a_command_is_answered_in_place() -> None:
    async with stage() as here:
        await here.platform.send([answer(await asked(here, private=True), "Here")])
        seen = await here.ada.messages()
        assert [(each.text, each.whisper, each.thinking) for each in seen] == [("Here", False, False)]


async def test_the_waiting_line_goes_when_there_is_nothing_to_say() -> None:
    async with stage() as here:
        await asked(here)
        await here.platform._sender.tidy(60)
        assert len(await here.ada.messages(here.channel)) == 1
        await here.platform._sender.tidy(-1)
        assert await here.ada.messages(here.channel) == []


async def test_after_a_restart_a_stored_token_still_answers() -> None:
    async with stage() as here:
        incoming = await asked(here)
        here.platform._reach._open.clear()
        await here.platform.send([answer(incoming, "Late but here")])
        seen = await here.ada.messages(here.channel)
        assert [(each.text, each.whisper) for each in seen] == [("Late but here", True)]


async def test_a_waiting_line_that_was_dismissed_is_no_fault() -> None:
    async with stage() as here:
        incoming = await asked(here)
        here.server.world.messages[here.channel].clear()
        await here.platform.send([answer(incoming, "For all", whisper=False)])
        assert texts(await here.ada.messages(here.channel)) == ["For all"]


async def test_an_answer_to_a_button_in_direct_messages_is_not_sent_twice() -> None:
    async with stage() as here:
        await here.platform.send([later(here, "Choose", buttons=buttons("Go"))])
        await here.ada.press("Go")
        item = answer(await here.last(), "Gone")
        await here.people.fault("POST /channels/*", kind="swallow")
        with pytest.raises(SendLater):
            await here.platform.send([item])
        await here.platform.send([item])
        assert texts(await here.ada.messages()) == ["Choose", "Gone"]


async def test_who_closed_their_messages_is_still_answered_where_they_press() -> None:
    async with stage() as here:
        await here.platform.send([later(here, "Choose", buttons=buttons("Go"))])
        await here.ada.close_dms()
        await here.ada.press("Go")
        await here.platform.send([answer(await here.last(), "Gone")])
        assert texts(await here.ada.messages()) == ["Choose", "Gone"]


async def test_where_the_bot_is_not_it_still_answers_publicly_to_a_button() -> None:
    async with stage() as here:
        await here.platform.send([in_channel(here, "Choose", buttons=buttons("Go"))])
        await here.people.call("remove_bot", channel=here.channel)
        await here.ada.press("Go", channel=here.channel)
        await here.platform.send([answer(await here.last(), "Gone", whisper=False)])
        assert texts(await here.ada.messages(here.channel)) == ["Choose", "Gone"]


# ---------------------------------------------------------------- without a token


async def test_a_dead_token_makes_a_whisper_a_direct_message() -> None:
    async with stage() as here:
        incoming = await asked(here)
        await here.people.advance(DEAD_SECONDS)
        await here.platform.send([answer(incoming, "Yours", attachments=files(picture(1)))])
        seen = await here.ada.messages()
        assert texts(seen) == ["Yours"]
        assert await here.people.file(seen[0].pictures[0]) == picture(1)
        assert not any(each.pictures for each in await here.ada.messages(here.channel))


async def test_a_dead_token_is_tried_once() -> None:
    async with stage() as here:
        incoming = await asked(here)
        await here.people.advance(DEAD_SECONDS)
        for number in range(3):
            await here.platform.send([answer(incoming, f"News {number}")])
        calls = (await here.people.state())["requests"]
        assert len([call for call in calls if call.startswith("POST /webhooks/")]) == 1
        assert texts(await here.ada.messages()) == ["News 0", "News 1", "News 2"]


async def test_a_dead_token_leaves_what_is_public_in_the_channel() -> None:
    async with stage() as here:
        incoming = await asked(here)
        await here.people.advance(DEAD_SECONDS)
        await here.platform.send([answer(incoming, "For all", whisper=False)])
        assert "For all" in texts(await here.ada.messages(here.channel))


async def test_news_go_to_the_direct_messages_even_before_the_person_wrote_there() -> None:
    async with stage() as here:
        receipt = (await here.platform.send([later(here)]))[0]
        assert texts(await here.ada.messages()) == ["Ready"]
        assert receipt.message


async def test_closed_direct_messages_are_refused() -> None:
    async with stage() as here:
        await here.ada.close_dms()
        with pytest.raises(SendRefused):
            await here.platform.send([later(here)])


async def test_behind_closed_messages_a_button_in_the_channel_brings_the_pictures_to_this_person_alone() -> (
    None
):
    async with stage() as here:
        grace = await here.people.person("Grace")
        await here.ada.close_dms()
        item = in_channel(here, "Yours", attachments=files(picture(1)), whisper=True)
        with pytest.raises(SendRefused):
            await here.platform.send([item])
        word = (await here.ada.messages(here.channel))[-1]
        assert f"<@{here.ada.id}>" in word.text
        assert not word.pictures
        assert texts(await grace.messages(here.channel)) == [word.text]
        await here.ada.press("status", word, channel=here.channel)
        await here.last()
        await here.platform.send([item])
        mine = (await here.ada.messages(here.channel))[-1]
        assert await here.people.file(mine.pictures[0]) == picture(1)
        assert mine.whisper
        assert not any(each.pictures for each in await grace.messages(here.channel))


async def test_closed_messages_are_tried_once_and_one_word_is_left() -> None:
    async with stage() as here:
        await here.ada.close_dms()
        for number in range(4):
            with pytest.raises(SendRefused):
                await here.platform.send([in_channel(here, f"News {number}", whisper=True)])
        assert len(await here.ada.messages(here.channel)) == 1
        posts = [call for call in (await here.people.state())["requests"] if call.endswith("/messages")]
        assert len(posts) == 2


async def test_where_the_bot_is_not_the_person_still_hears_of_it() -> None:
    async with stage() as here:
        await here.people.call("remove_bot", channel=here.channel)
        await here.platform.send([in_channel(here, "For all")])
        assert texts(await here.ada.messages()) == ["For all"]
        await here.ada.close_dms()
        with pytest.raises(SendRefused):
            await here.platform.send([in_channel(here, "And this", whisper=True)])


# ---------------------------------------------------------------- cards


async def test_a_card_is_edited_in_place_with_its_buttons() -> None:
    async with stage() as here:
        receipt = (await here.platform.send([later(here, "10 %", buttons=buttons("Cancel"))]))[0]
        receipt = (await here.platform.send([later(here, "90 %", edit=receipt.message)]))[0]
        seen = await here.ada.messages()
        assert [(each.text, each.buttons, each.edited) for each in seen] == [("90 %", (), True)]


async def test_a_whispered_card_is_edited_by_its_token_and_moves_when_that_is_dead() -> None:
    async with stage() as here:
        incoming = await asked(here)
        receipt = (await here.platform.send([answer(incoming, "10 %")]))[0]
        receipt = (await here.platform.send([in_channel(here, "20 %", whisper=True, edit=receipt.message)]))[
            0
        ]
        assert texts(await here.ada.messages(here.channel)) == ["20 %"]
        await here.people.advance(DEAD_SECONDS)
        receipt = (await here.platform.send([in_channel(here, "30 %", whisper=True, edit=receipt.message)]))[
            0
        ]
        await here.platform.send([in_channel(here, "40 %", whisper=True, edit=receipt.message)])
        assert texts(await here.ada.messages()) == ["40 %"]


@pytest.mark.parametrize("private", [True, False])
async def test_a_card_that_answers_a_command_comes_down_to_it(private: bool) -> None:
    async with stage() as here:
        place = "" if private else here.channel
        first = (await here.platform.send([answer(await asked(here, private=private), "3 photos")]))[0]
        second = await asked(here, private=private, number=2)
        await here.platform.send([answer(second, "5 photos", edit=first.message)])
        assert texts(await here.ada.messages(place)) == ["5 photos"]


@pytest.mark.parametrize("private", [True, False])
async def test_a_card_that_moves_takes_its_old_message_away(private: bool) -> None:
    async with stage() as here:
        place = "" if private else here.channel
        card = (await here.platform.send([answer(await asked(here, private=private), "3 photos")]))[0]
        second = await asked(here, private=private, number=2)
        await here.platform.send([answer(second, "Fine")])
        moved = (await here.platform.send([answer(second, "5 photos", replaces=card.message)]))[0]
        assert texts(await here.ada.messages(place)) == ["Fine", "5 photos"]
        await here.platform.send([answer(second, "6 photos", replaces=card.message)])  # gone: no matter
        assert moved.message != card.message
        assert texts(await here.ada.messages(place)) == ["Fine", "5 photos", "6 photos"]


async def test_news_of_a_card_leave_the_waiting_line_to_the_answer() -> None:
    async with stage() as here:
        card = (await here.platform.send([answer(await asked(here), "10 %")]))[0]
        second = await asked(here, number=2)
        await here.platform.send([in_channel(here, "20 %", whisper=True, edit=card.message)])
        assert [(each.text, each.thinking) for each in await here.ada.messages(here.channel)] == [
            ("20 %", False),
            ("", True),
        ]
        await here.platform.send([answer(second, "Fine")])
        assert texts(await here.ada.messages(here.channel)) == ["20 %", "Fine"]


async def test_a_card_below_a_pressed_button_stays_where_it_is() -> None:
    async with stage() as here:
        incoming = await asked(here)
        card = (await here.platform.send([answer(incoming, "3 photos", buttons=buttons("More"))]))[0]
        await here.ada.press("More", channel=here.channel)
        pressed = await here.last(2)
        await here.platform.send([answer(pressed, "4 photos", edit=card.message)])
        seen = await here.ada.messages(here.channel)
        assert [(each.text, each.edited) for each in seen] == [("4 photos", True)]


# ---------------------------------------------------------------- pictures and long texts


async def test_an_album_is_one_message_with_every_picture() -> None:
    async with stage() as here:
        pictures = [picture(n) for n in range(10)]
        items = [later(here, "", attachments=files(each), nonce=f"n{n}") for n, each in enumerate(pictures)]
        assert len(await here.platform.send(items)) == 10
        seen = await here.ada.messages()
        assert [await here.people.file(url) for each in seen for url in each.pictures] == pictures
        assert len(seen) == 1


async def test_pictures_for_different_eyes_are_no_album() -> None:
    async with stage() as here:
        secret = in_channel(here, "", attachments=files(picture(1)), whisper=True)
        public = in_channel(here, "", attachments=files(picture(2)))
        with pytest.raises(SendImpossible):
            await here.platform.send([public, secret])
        assert await here.ada.messages(here.channel) == []


async def test_a_file_above_the_limit_can_never_go() -> None:
    async with stage() as here:
        with pytest.raises(SendImpossible, match="too_large"):
            await here.platform.send([later(here, attachments=files(bytes(FILE_MAX_BYTES + 1)))])
        await here.people.fault("POST /channels/*", status=413, code=40005)
        with pytest.raises(SendImpossible, match="too_large"):
            await here.platform.send([later(here, attachments=files(picture(1)))])


async def test_a_long_text_that_stopped_on_its_way_goes_on_where_it_was() -> None:
    async with stage() as here:
        item = later(here, "\n".join(f"{n} {'word ' * 30}" for n in range(30)), buttons=buttons("Ok"))
        await here.people.fault("POST /channels/*", status=503, skip=1)
        with pytest.raises(SendLater):
            await here.platform.send([item])
        assert len(await here.ada.messages()) == 1
        receipt = (await here.platform.send([item]))[0]
        seen = await here.ada.messages()
        assert " ".join(texts(seen)).split() == item.text.split()
        assert [bool(each.buttons) for each in seen] == [False] * (len(seen) - 1) + [True]
        assert receipt.message == ""


async def test_a_long_answer_to_a_command_goes_on_where_it_was() -> None:
    async with stage() as here:
        item = answer(await asked(here), "\n".join(f"{n} {'word ' * 30}" for n in range(30)))
        await here.people.fault("POST /webhooks/*", "drop", skip=1)
        with pytest.raises(SendLater):
            await here.platform.send([item])
        await here.platform.send([item])
        seen = await here.ada.messages(here.channel)
        assert " ".join(texts(seen)).split() == item.text.split()


# ---------------------------------------------------------------- faults


async def test_what_was_sent_when_the_connection_broke_is_not_sent_twice() -> None:
    async with stage() as here:
        await here.people.fault("POST /channels/*", kind="swallow")
        with pytest.raises(SendLater):
            await here.platform.send([later(here)])
        await here.platform.send([later(here)])
        assert texts(await here.ada.messages()) == ["Ready"]


async def test_a_long_pause_is_handed_on() -> None:
    async with stage() as here:
        await here.people.throttle("POST /channels/*", 45)
        with pytest.raises(SendLater) as refused:
            await here.platform.send([later(here)])
        assert refused.value.after_seconds == 45


async def test_a_short_pause_is_waited_out() -> None:
    async with stage() as here:
        await here.people.throttle("POST /channels/*", 0.05)
        await here.platform.send([later(here)])
        assert texts(await here.ada.messages()) == ["Ready"]


async def test_the_private_button_is_a_button_like_any_other() -> None:
    async with stage() as here:
        rows = ((Button("Open our private chat", "private", "group_1"),),)
        await here.platform.send([in_channel(here, "Notice", buttons=rows)])
        await here.ada.press("private", channel=here.channel)
        incoming = await here.last()
        assert (incoming.event.action, incoming.event.argument) == ("private", "group_1")  # type: ignore[union-attr]
