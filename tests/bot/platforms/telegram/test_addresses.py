"""Chats, topics and deep links as text. No network."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.platforms.telegram import addresses


@given(st.text(max_size=41).filter(lambda text: len(text.encode()) <= 41))
def test_any_payload_survives_a_deep_link(payload: str) -> None:
    packed = addresses.packed(payload)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", packed)
    assert addresses.unpacked(packed) == payload


def test_plain_payloads_stay_readable() -> None:
    assert addresses.deep_link("ABot", "g-1001") == "https://t.me/ABot?start=g-1001"
    assert addresses.deep_link("ABot", "") == "https://t.me/ABot"


@pytest.mark.parametrize("payload", ["b64-", "b64-?", "b64-gA", "plain"])
def test_made_up_payloads_do_no_harm(payload: str) -> None:
    assert isinstance(addresses.unpacked(payload), str)


@pytest.mark.parametrize(("chat", "topic"), [(6_000_000_001, None), (-1001234567890, 17)])
def test_places_lead_back_to_chat_and_topic(chat: int, topic: int | None) -> None:
    assert addresses.chat_and_topic(addresses.place_id(chat, topic)) == (chat, topic)
