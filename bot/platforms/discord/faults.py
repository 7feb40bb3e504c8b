"""Discord's refusals, by who can act on them: https://discord.com/developers/docs/topics/opcodes-and-status-codes.

Messages of ours hold Discord's numbers, never its texts, which may quote what was sent.
"""

import aiohttp
import discord

from bot.errors import OperatorError, SendError, SendImpossible, SendLater, SendRefused

NETWORK_RETRY_SECONDS = 5.0
TOKEN_RETRY_SECONDS = 60.0
FAULTS = (discord.HTTPException, discord.RateLimited, aiohttp.ClientError, OSError, TimeoutError)
Fault = discord.HTTPException | discord.RateLimited | aiohttp.ClientError | OSError | TimeoutError

UNKNOWN_CHANNEL, UNKNOWN_MESSAGE, UNKNOWN_USER = 10003, 10008, 10013
UNKNOWN_WEBHOOK, UNKNOWN_INTERACTION, INVALID_WEBHOOK_TOKEN = 10015, 10062, 50027
TOO_LARGE = 40005
MISSING_ACCESS, NOT_OUR_MESSAGE, CLOSED_TO_US, MISSING_PERMISSIONS = 50001, 50005, 50007, 50013
THREAD_ARCHIVED, NO_SERVER_IN_COMMON = 50083, 50278
_UNREACHABLE = {
    *(UNKNOWN_CHANNEL, UNKNOWN_USER, MISSING_ACCESS, CLOSED_TO_US, MISSING_PERMISSIONS),
    *(THREAD_ARCHIVED, NO_SERVER_IN_COMMON),
}
_DEAD_TOKEN = {UNKNOWN_WEBHOOK, UNKNOWN_INTERACTION, INVALID_WEBHOOK_TOKEN}


def bad_token() -> OperatorError:
    """The token was refused."""
    return OperatorError(
        "Discord does not accept DISCORD_TOKEN. Reset the token on the Bot page of your application at "
        "https://discord.com/developers/applications and put it into .env."
    )


def is_unreachable(error: Exception) -> bool:
    """The channel or the person cannot be written to; trying again changes nothing."""
    return isinstance(error, discord.HTTPException) and (error.code in _UNREACHABLE or error.status == 403)


def is_dead_token(error: Exception) -> bool:
    """An interaction token is used up: after 15 minutes, or because it was never answered in time."""
    return isinstance(error, discord.HTTPException) and (error.code in _DEAD_TOKEN or error.status == 401)


def is_gone(error: Exception) -> bool:
    """The message to edit is not there any more, or not ours to edit."""
    missing = isinstance(error, discord.HTTPException) and error.code in (UNKNOWN_MESSAGE, NOT_OUR_MESSAGE)
    return missing or is_unreachable(error) or is_dead_token(error)


def send_error(error: Fault) -> SendError:
    """Why a message did not go out. After a network fault it may be out all the same."""
    match error:
        case discord.RateLimited():
            return SendLater(error.retry_after, "throttled")
        case discord.HTTPException():
            return _answered(error)
    return SendLater(NETWORK_RETRY_SECONDS, type(error).__name__)


def _answered(error: discord.HTTPException) -> SendError:
    reason = f"{error.status} {error.code}"
    if error.code == TOO_LARGE or error.status == 413:
        return SendImpossible("too_large")
    if error.status == 429:
        return SendLater(_retry_after(error), "throttled")
    if error.status == 401:
        return SendLater(TOKEN_RETRY_SECONDS, "the token was refused")
    if error.status >= 500:
        return SendLater(NETWORK_RETRY_SECONDS, reason)
    return SendRefused(reason) if is_unreachable(error) else SendImpossible(reason)


def _retry_after(error: discord.HTTPException) -> float:
    """discord.py waits out most throttling itself; what is left comes from Discord's outer wall."""
    try:
        return float(error.response.headers.get("Retry-After", TOKEN_RETRY_SECONDS))
    except ValueError:
        return TOKEN_RETRY_SECONDS
