"""Texts, buttons and pictures within Discord's limits."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.conversation.types import Button, Place
from bot.errors import SendImpossible
from bot.platforms.base import Outgoing
from bot.platforms.discord.markup import FILE_MAX_BYTES, TEXT_MAX, escape, messages, split, view_of
from tests.bot.platforms.discord.kit import files, outgoing, picture
from tests.servers.discord_people import _ESCAPED

HERE = Place("discord", "9", private=True)


def item(text: str = "", **fields: object) -> Outgoing:
    return outgoing("7", HERE, text, **fields)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab *_~|`>#-\n.👩🏽‍🎤שא\\"), max_size=6000))
def test_parts_fit_and_together_are_the_text(text: str) -> None:
    parts = list(split(text))
    assert "".join(parts) == text
    assert all(len(escape(part).encode("utf-16-le")) // 2 <= TEXT_MAX for part in parts)


def test_parts_break_between_words() -> None:
    text = " ".join(["headshot"] * 600)
    assert all(part.split()[0] == part.split()[-1] == "headshot" for part in split(text))


@pytest.mark.parametrize("text", ["*a* _b_ ~~c~~ `d` ||e||", "# title", "> quote", "- list", "[a](http://b)"])
def test_markdown_is_shown_not_obeyed(text: str) -> None:
    shown = escape(text)
    assert shown != text
    assert _ESCAPED.sub(r"\1", shown) == text


def test_addresses_stay_whole() -> None:
    assert escape("see https://example.com/a_b_c") == "see https://example.com/a_b_c"


async def test_buttons_carry_their_action_and_stay_in_their_row() -> None:
    view = view_of(
        [[Button("Yes", "consent_yes"), Button("No", "consent_no")], [Button("All", "forget_yes", "x")]]
    )
    assert view is not None
    assert view.is_finished()  # or discord.py would keep it for ever
    rows = view.to_components()
    assert [[each["custom_id"] for each in row["components"]] for row in rows] == [
        ["v1:consent_yes:", "v1:consent_no:"],
        ["v1:forget_yes:x"],
    ]
    assert [each["style"] for row in rows for each in row["components"]] == [1, 2, 4]


async def test_a_long_row_is_broken_and_labels_are_cut() -> None:
    view = view_of([[Button("x" * 100, f"a{n}") for n in range(7)]])
    assert view is not None
    rows = view.to_components()
    assert [len(row["components"]) for row in rows] == [5, 2]
    assert len(rows[0]["components"][0]["label"]) == 80


async def test_no_buttons_no_view() -> None:
    assert view_of([]) is None
    assert view_of([[]]) is None


async def test_a_button_that_carries_too_much_is_a_mistake_of_ours() -> None:
    with pytest.raises(SendImpossible):
        view_of([[Button("x", "a", "y" * 100)]])


def test_a_long_text_is_several_messages_with_the_buttons_below_the_last() -> None:
    made = messages([item("word " * 1000, buttons=((Button("Ok", "ok"),),))])
    assert len(made) == 3
    assert [bool(each.buttons) for each in made] == [False, False, True]
    assert len({each.nonce for each in made}) == 3
    assert all(len(each.nonce) <= 25 for each in made)


def test_a_nonce_is_the_same_on_every_attempt_and_for_no_other_item() -> None:
    once, again, other = (messages([item("a", nonce=nonce)])[0].nonce for nonce in ("1-1", "1-1", "1-2"))
    assert once == again != other


def test_pictures_come_ten_to_a_message_with_the_text_above() -> None:
    made = messages([item("Here", attachments=files(*map(picture, range(12))))])
    assert [(each.text, len(each.files)) for each in made] == [("Here", 10), ("", 2)]


def test_an_album_is_one_message() -> None:
    items = [item("Here" if n == 0 else "", attachments=files(picture(n))) for n in range(4)]
    made = messages(items)
    assert [(each.text, len(each.files)) for each in made] == [("Here", 4)]


def test_what_is_no_album_is_refused() -> None:
    with pytest.raises(SendImpossible, match="album"):
        messages([item(attachments=files(picture(n))) for n in range(11)])
    with pytest.raises(SendImpossible, match="album"):
        messages([item(attachments=files(picture(n)), buttons=((Button("a", "b"),),)) for n in range(2)])


def test_too_large_and_empty() -> None:
    with pytest.raises(SendImpossible, match="too_large"):
        messages([item(attachments=files(bytes(FILE_MAX_BYTES + 1)))])
    with pytest.raises(SendImpossible, match="empty"):
        messages([item(" \n ")])


def test_nobody_is_pinged_by_what_people_wrote() -> None:
    made = messages([item("<@123> @everyone")])[0].contents()
    assert made["allowed_mentions"].to_dict() == {"parse": []}
    assert re.search("@everyone", made["content"])
