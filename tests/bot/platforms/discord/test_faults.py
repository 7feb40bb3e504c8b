"""Discord's refusals, by who can act on them."""

from types import SimpleNamespace
from typing import Any

import aiohttp
import discord
import pytest

from bot.errors import SendImpossible, SendLater, SendRefused
from bot.platforms.discord.faults import bad_token, is_dead_token, is_gone, is_unreachable, send_error


def refused(status: int, code: int = 0, **headers: str) -> discord.HTTPException:
    response: Any = SimpleNamespace(status=status, reason="No", headers=headers)
    return discord.HTTPException(response, {"code": code, "message": "said in private"})


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, 50007, SendRefused),
        (403, 50001, SendRefused),
        (403, 50013, SendRefused),
        (403, 50278, SendRefused),
        (404, 10003, SendRefused),
        (413, 40005, SendImpossible),
        (413, 0, SendImpossible),
        (400, 50035, SendImpossible),
        (401, 0, SendLater),
        (429, 0, SendLater),
        (500, 0, SendLater),
        (503, 0, SendLater),
    ],
)
def test_by_number(status: int, code: int, kind: type) -> None:
    error = send_error(refused(status, code))
    assert isinstance(error, kind)
    assert "private" not in str(error)


def test_a_large_file_is_told_as_such() -> None:
    for code in (40005, 0):
        error = send_error(refused(413, code))
        assert isinstance(error, SendImpossible)
        assert error.reason == "too_large"


def test_throttling_keeps_its_time() -> None:
    limited, walled = send_error(discord.RateLimited(77)), send_error(refused(429, **{"Retry-After": "55"}))
    assert isinstance(limited, SendLater)
    assert isinstance(walled, SendLater)
    assert (limited.after_seconds, walled.after_seconds) == (77, 55)


@pytest.mark.parametrize("fault", [OSError("x"), TimeoutError(), aiohttp.ServerDisconnectedError()])
def test_the_network_is_mended_by_time(fault: Any) -> None:
    assert isinstance(send_error(fault), SendLater)


@pytest.mark.parametrize(("status", "code"), [(404, 10015), (404, 10062), (401, 50027), (401, 0)])
def test_dead_tokens(status: int, code: int) -> None:
    assert is_dead_token(refused(status, code))
    assert is_gone(refused(status, code))
    assert not is_dead_token(refused(403, 50007))


def test_gone_and_unreachable() -> None:
    assert is_gone(refused(404, 10008))
    assert not is_unreachable(refused(404, 10008))
    assert is_unreachable(refused(403, 50007))
    assert not is_unreachable(OSError())


def test_a_refused_token_names_its_remedy() -> None:
    assert "DISCORD_TOKEN" in str(bad_token())
    assert "https://discord.com/developers/applications" in str(bad_token())
