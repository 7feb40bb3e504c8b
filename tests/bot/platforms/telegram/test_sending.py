"""What goes out, over real HTTP, to a server that keeps the Bot API's limits and fails on demand."""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.errors import SendError, SendImpossible, SendLater, SendRefused
from bot.platforms.telegram import TelegramPlatform, sending
from tests.bot.platforms.telegram.kit import message, photo, picture, row, telegram
from tests.servers.telegram_people import Person, TelegramPeople
from tests.servers.telegram_server import TOKEN

Bench = tuple[TelegramPlatform, TelegramPeople, Person]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with telegram() as bench:
        yield bench


async def methods(people: TelegramPeople) -> list[str]:
    return [made["method"] for made in await people.requests() if made["method"] != "getMe"]


async def test_pictures_go_as_photos_or_as_files_with_their_names(bench: Bench) -> None:
    platform, people, ada = bench
    await platform.send([message(ada, "Look", attachments=(photo(1),), buttons=row(("More", "again", "1")))])
    await platform.send([message(ada, "Keep", attachments=(photo(2, as_file=True),))])
    shown, kept = await ada.messages()
    assert await people.file(shown.photo) == picture(1)
    assert (shown.text, shown.buttons[0].data) == ("Look", "v1:again:1")
    assert await people.file(kept.document) == picture(2)
    assert (kept.text, kept.name) == ("Keep", "2.jpg")


async def test_a_photo_above_ten_megabytes_goes_as_a_file(bench: Bench) -> None:
    platform, _, ada = bench
    await platform.send([message(ada, "Big", attachments=(photo(1, size=11_000_000),))])
    (sent,) = await ada.messages()
    assert (sent.photo, bool(sent.document), sent.text) == ("", True, "Big")


@pytest.mark.parametrize("words", ["PHOTO_INVALID_DIMENSIONS", "IMAGE_PROCESS_FAILED"])
async def test_a_picture_that_telegram_does_not_take_as_a_photo_goes_as_a_file(
    bench: Bench, words: str
) -> None:
    platform, people, ada = bench
    await people.fault("sendPhoto", description=f"Bad Request: {words}")
    await platform.send([message(ada, "Yours", attachments=(photo(1),))])
    (sent,) = await ada.messages()
    assert (sent.text, await people.file(sent.document)) == ("Yours", picture(1))


async def test_what_is_above_fifty_megabytes_is_refused_before_anything_leaves(bench: Bench) -> None:
    platform, people, ada = bench
    small, huge = photo(1), photo(2, size=53_000_000)
    with pytest.raises(SendImpossible, match="too_large"):
        await platform.send([message(ada, "Two", attachments=(small, huge))])
    assert await methods(people) == []


async def test_a_caption_that_is_too_long_follows_as_a_message(bench: Bench) -> None:
    platform, _, ada = bench
    text = "word " * 300
    buttons = row(("Go", "train", ""))
    await platform.send([message(ada, text, attachments=(photo(1),), buttons=buttons)])
    shown, said = await ada.messages()
    assert (shown.text, shown.buttons) == ("", ())
    assert (said.text, said.buttons[0].label) == (text, "Go")


async def test_captions_at_the_limit_count_as_telegram_counts(bench: Bench) -> None:
    platform, _, ada = bench
    await platform.send([message(ada, "🙂" * 512, attachments=(photo(1),))])
    await platform.send([message(ada, "🙂" * 513, attachments=(photo(2),))])
    assert [len(sent.text) for sent in await ada.messages()] == [512, 0, 513]


@pytest.mark.parametrize("number", [2, 9, 10])
async def test_items_go_out_as_one_album(bench: Bench, number: int) -> None:
    platform, people, ada = bench
    items = [message(ada, f"No. {n}", attachments=(photo(n),)) for n in range(number)]
    assert len(await platform.send(items)) == number
    sent = await ada.messages()
    assert {one.album for one in sent} == {sent[0].album} != {""}
    assert [one.text for one in sent] == [f"No. {n}" for n in range(number)]
    assert [await people.file(one.photo) for one in sent] == [picture(n) for n in range(number)]


async def test_files_make_an_album_too_and_mixtures_do_not(bench: Bench) -> None:
    platform, people, ada = bench
    await platform.send([message(ada, "", attachments=(photo(n, as_file=True),)) for n in range(3)])
    assert [bool(one.document) for one in await ada.messages()] == [True] * 3
    mixed = [message(ada, "", attachments=(photo(n, as_file=n == 1),)) for n in range(3)]
    with pytest.raises(SendImpossible):
        await platform.send(mixed)
    assert await methods(people) == ["sendMediaGroup"]


@pytest.mark.parametrize(
    ("number", "fields"),
    [(11, {"text": ""}), (2, {"text": "", "buttons": row(("Go", "go", ""))}), (2, {"text": "x" * 1025})],
    ids=["eleven pictures", "buttons", "long captions"],
)
async def test_what_no_album_can_carry_is_refused_whole(bench: Bench, number: int, fields: Any) -> None:
    """The delivery loop then sends one by one."""
    platform, people, ada = bench
    with pytest.raises(SendImpossible):
        await platform.send([message(ada, attachments=(photo(n),), **fields) for n in range(number)])
    assert await methods(people) == []


@pytest.mark.parametrize(("code", "words"), [(400, "Bad Request: IMAGE_PROCESS_FAILED"), (404, "Not Found")])
async def test_a_refused_album_says_so_and_nothing_was_sent(bench: Bench, code: int, words: str) -> None:
    platform, people, ada = bench
    await people.fault("sendMediaGroup", code=code, description=words)
    with pytest.raises(SendImpossible):
        await platform.send([message(ada, "", attachments=(photo(n),)) for n in range(2)])
    assert await ada.messages() == []


async def test_one_item_with_several_pictures_arrives_even_if_the_album_is_refused(bench: Bench) -> None:
    platform, people, ada = bench
    await people.fault("sendMediaGroup", description="Bad Request: IMAGE_PROCESS_FAILED")
    buttons = row(("Studio", "style", "studio"))
    pictures = tuple(photo(n) for n in range(3))
    await platform.send([message(ada, "Styles", attachments=pictures, buttons=buttons)])
    sent = await ada.messages()
    assert [bool(one.photo) for one in sent] == [True, True, True, False]
    assert (sent[-1].text, sent[-1].buttons[0].label) == ("Styles", "Studio")


async def test_one_item_with_more_pictures_than_an_album_holds(bench: Bench) -> None:
    platform, people, ada = bench
    await platform.send([message(ada, "Styles", attachments=tuple(photo(n) for n in range(21)))])
    sent = await ada.messages()
    assert [await people.file(one.photo) for one in sent] == [picture(n) for n in range(21)]
    assert [one.text for one in sent] == ["Styles", *[""] * 20]
    assert await methods(people) == ["sendMediaGroup", "sendMediaGroup", "sendPhoto"]


async def test_nothing_to_say_is_impossible_rather_than_endless(bench: Bench) -> None:
    platform, people, ada = bench
    buttons = row(("Go", "go", ""))
    for item in (message(ada, ""), message(ada, " \n"), message(ada, "", attachments=(photo(1), photo(2)))):
        if item.attachments:
            item = message(ada, "", attachments=item.attachments, buttons=buttons)
        with pytest.raises(SendImpossible):
            await platform.send([item])
    assert await methods(people) == []
    assert await platform.send([]) == []


async def test_a_button_with_data_above_64_bytes_is_impossible(bench: Bench) -> None:
    platform, _, ada = bench
    with pytest.raises(SendImpossible, match="Button_data_invalid"):
        await platform.send([message(ada, "Choose", buttons=row(("Go", "style", "x" * 70)))])


async def test_an_item_of_several_messages_goes_on_where_it_stopped(bench: Bench) -> None:
    """An album and a text with buttons: throttled between the two, the album does not come twice."""
    platform, people, ada = bench
    item = message(
        ada, "Styles", attachments=(photo(1), photo(2)), buttons=row(("Studio", "style", "studio"))
    )
    long = dataclasses.replace(message(ada, "word " * 2000), nonce="n2")
    await people.throttle("sendMessage", 3)
    with pytest.raises(SendLater):
        await platform.send([item])
    await people.fault("sendMessage", code=502, description="Bad Gateway", skip=1)
    with pytest.raises(SendLater):
        await platform.send([long])
    await platform.send([item])
    await platform.send([long])
    sent = await ada.messages()
    assert [bool(one.photo) for one in sent] == [True, True, False, False, False, False]
    assert "".join(one.text for one in sent if one.text != "Styles") == "word " * 2000
    await platform.send([item])  # the same again, as after a restart: whole
    assert len(await ada.messages()) == 9


# ---------------------------------------------------------------- cards


async def test_an_edit_changes_text_and_buttons(bench: Bench) -> None:
    platform, _, ada = bench
    (receipt,) = await platform.send([message(ada, "10 %", buttons=row(("Stop", "cancel", "1")))])
    (again,) = await platform.send([message(ada, "Done", edit=receipt.message)])
    (sent,) = await ada.messages()
    assert (sent.text, sent.buttons, again) == ("Done", (), receipt)


@pytest.mark.parametrize(
    "words",
    [
        "Bad Request: message to edit not found",
        "Bad Request: message can't be edited",
        "Bad Request: MESSAGE_ID_INVALID",
        "Bad Request: there is no text in the message to edit",
    ],
)
async def test_a_card_that_cannot_be_edited_is_sent_anew(bench: Bench, words: str) -> None:
    platform, people, ada = bench
    (old,) = await platform.send([message(ada, "10 %")])
    await people.fault("editMessageText", description=words)
    (new,) = await platform.send([message(ada, "20 %", edit=old.message)])
    assert new != old
    await platform.send([message(ada, "30 %", edit=new.message)])
    assert [one.text for one in await ada.messages()] == ["10 %", "30 %"]


async def test_a_card_that_outgrew_its_message_is_sent_anew(bench: Bench) -> None:
    platform, _, ada = bench
    (old,) = await platform.send([message(ada, "short")])
    await platform.send([message(ada, "long " * 1000, edit=old.message)])
    assert "".join(one.text for one in await ada.messages()) == "short" + "long " * 1000


async def test_an_edit_whose_answer_was_lost_does_not_double(bench: Bench) -> None:
    platform, people, ada = bench
    (old,) = await platform.send([message(ada, "10 %")])
    await people.fault("editMessageText", "drop_after")
    with pytest.raises(SendLater):
        await platform.send([message(ada, "20 %", edit=old.message)])
    assert await platform.send([message(ada, "20 %", edit=old.message)]) == [old]
    assert [one.text for one in await ada.messages()] == ["20 %"]


async def test_a_card_that_moves_is_there_before_its_old_message_goes(bench: Bench) -> None:
    platform, people, ada = bench
    (old,) = await platform.send([message(ada, "1 photo", buttons=row(("Go", "train", "")))])
    await platform.send([message(ada, "2 photos", replaces=old.message)])
    assert [one.text for one in await ada.messages()] == ["2 photos"]
    assert await methods(people) == ["sendMessage", "sendMessage", "deleteMessage"]


async def test_an_old_message_that_cannot_be_deleted_loses_its_buttons(bench: Bench) -> None:
    platform, people, ada = bench
    (old,) = await platform.send([message(ada, "1 photo", buttons=row(("Go", "train", "")))])
    await people.fault("deleteMessage", description="Bad Request: message can't be deleted for everyone")
    await platform.send([message(ada, "2 photos", replaces=old.message)])
    assert [(one.text, one.buttons) for one in await ada.messages()] == [("1 photo", ()), ("2 photos", ())]


async def test_a_card_moves_also_where_its_old_message_is_gone(bench: Bench) -> None:
    platform, people, ada = bench
    (new,) = await platform.send([message(ada, "2 photos", replaces="4711")])
    assert new.message
    await people.throttle("deleteMessage", 30)
    await platform.send([message(ada, "3 photos", replaces=new.message)])
    assert [one.text for one in await ada.messages()] == ["2 photos", "3 photos"]


# ---------------------------------------------------------------- groups


async def test_a_group_is_answered_there_with_a_link_into_the_private_chat(bench: Bench) -> None:
    platform, people, ada = bench
    group = await people.group()
    link = row(("Open our chat", "private", "headshot"))
    (receipt,) = await platform.send([message(ada, "Come over", chat=group, buttons=link)])
    (sent,) = await people.messages(group)
    assert sent.buttons[0].url == "https://t.me/LikenessTestBot?start=headshot"
    await platform.send([message(ada, "Thanks", chat=group, edit=receipt.message)])
    assert [one.text for one in await people.messages(group)] == ["Thanks"]


async def test_a_group_that_became_a_supergroup_gets_its_message(bench: Bench) -> None:
    platform, people, ada = bench
    group = await people.group()
    (card,) = await platform.send([message(ada, "10 %", chat=group)])
    moved = await people.migrate(group)
    await platform.send([message(ada, "Hello", chat=group)])
    await platform.send([message(ada, "20 %", chat=group, edit=card.message)])
    assert [one.text for one in await people.messages(moved)] == ["Hello", "20 %"]


async def test_a_refusal_in_the_new_group_is_told_like_any_other(bench: Bench) -> None:
    platform, people, ada = bench
    group = await people.group()
    moved = await people.migrate(group)
    await people.call("flag", chat_id=moved, flag="kicked")
    with pytest.raises(SendRefused):
        await platform.send([message(ada, "Hello", chat=group)])


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        (403, "Forbidden: bot was blocked by the user", SendRefused),
        (403, "Forbidden: user is deactivated", SendRefused),
        (403, "Forbidden: bot was kicked from the supergroup chat", SendRefused),
        (400, "Bad Request: chat not found", SendRefused),
        (400, "Bad Request: not enough rights to send photos to the chat", SendRefused),
        (400, "Bad Request: CHAT_WRITE_FORBIDDEN", SendRefused),
        (400, "Bad Request: wrong file identifier", SendImpossible),
        (413, "Request Entity Too Large", SendImpossible),
        (500, "Internal Server Error", SendLater),
        (502, "Bad Gateway", SendLater),
        (429, "Too Many Requests", SendLater),
        (401, "Unauthorized", SendLater),
    ],
)
async def test_refusals_by_who_can_act(bench: Bench, code: int, words: str, kind: type[SendError]) -> None:
    platform, people, ada = bench
    await people.fault("sendMessage", code=code, description=words)
    with pytest.raises(kind) as refused:
        await platform.send([message(ada)])
    assert TOKEN not in str(refused.value)
    assert await ada.messages() == []


async def test_somebody_unknown_is_out_of_reach(bench: Bench) -> None:
    platform, _, ada = bench
    with pytest.raises(SendRefused):
        await platform.send([message(ada, chat=4242)])


async def test_telegram_says_how_long_to_wait(bench: Bench) -> None:
    platform, people, ada = bench
    await people.throttle("sendPhoto", 33)
    with pytest.raises(SendLater) as later:
        await platform.send([message(ada, attachments=(photo(1),))])
    assert later.value.after_seconds == 33


@pytest.mark.parametrize(("kind", "copies"), [("drop", 0), ("drop_after", 1)])
async def test_a_broken_connection_is_tried_again_later(bench: Bench, kind: str, copies: int) -> None:
    """Telegram knows no idempotency key: what it accepted before the break will come twice, not never."""
    platform, people, ada = bench
    await people.fault("sendMessage", kind)
    with pytest.raises(SendLater):
        await platform.send([message(ada)])
    assert len(await ada.messages()) == copies
    await platform.send([message(ada)])
    assert len(await ada.messages()) == copies + 1


async def test_an_answer_that_never_comes_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    platform, people, ada = bench
    monkeypatch.setattr(sending, "UPLOAD_READ_SECONDS", 0.3)
    await people.fault("sendPhoto", "swallow")
    async with asyncio.timeout(5):
        with pytest.raises(SendLater):
            await platform.send([message(ada, attachments=(photo(1),))])
    assert len(await ada.messages()) == 1  # it was accepted


async def test_the_token_is_in_no_log_and_no_error(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    platform, people, ada = bench
    caplog.set_level(logging.DEBUG)
    await platform.send([message(ada, "my secret words", attachments=(photo(1),))])
    caught: list[Any] = []
    for fault in ({"code": 401, "description": "Unauthorized"}, {"kind": "drop"}, {"code": 500}):
        await people.fault("sendMessage", **fault)
        with pytest.raises(SendLater) as error:
            await platform.send([message(ada, "my secret words")])
        caught += [error.value, error.value.__cause__, error.getrepr(style="long")]
    everything = caplog.text + "".join(f"{one!r} {one}" for one in caught)
    assert TOKEN not in everything
    assert "my secret words" not in caplog.text
