"""Telegram's refusals, by who can act on them. Over HTTP they are tried in test_sending."""

import datetime as dtm

import pytest
from telegram.error import (
    BadRequest,
    ChatMigrated,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
    TimedOut,
)

from bot.errors import SendImpossible, SendLater, SendRefused
from bot.platforms.telegram.faults import retry_seconds, send_error


@pytest.fixture(autouse=True)
def timedelta(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "true")


def test_waiting_times_are_seconds_whatever_the_library_makes_of_them() -> None:
    assert retry_seconds(RetryAfter(7)) == 7.0
    assert retry_seconds(RetryAfter(dtm.timedelta(minutes=2))) == 120.0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimedOut(), SendLater),
        (NetworkError("httpx.ConnectError"), SendLater),
        (NetworkError("Request Entity Too Large"), SendImpossible),
        (TelegramError("Invalid server response"), SendLater),
        (BadRequest("Chat not found"), SendRefused),
        (BadRequest("Message is too long"), SendImpossible),
        (InvalidToken("Unauthorized"), SendLater),
        (InvalidToken("Not Found"), SendImpossible),
        (ChatMigrated(-100), SendImpossible),
    ],
)
def test_who_can_act(error: TelegramError, kind: type[Exception]) -> None:
    assert type(send_error(error)) is kind


def test_what_a_request_held_is_in_no_reason() -> None:
    fault = send_error(NetworkError("Unknown error in HTTP implementation: ValueError(b'a photo')"))
    assert isinstance(fault, SendLater)
    assert fault.reason == "Unknown error in HTTP implementation"
