"""The Bot API's refusals, by who can act on them. Messages of ours never hold the token."""

import datetime as dtm

from telegram.error import (
    BadRequest,
    ChatMigrated,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
)

from bot.errors import OperatorError, SendError, SendImpossible, SendLater, SendRefused

NETWORK_RETRY_SECONDS = 5.0
TOKEN_RETRY_SECONDS = 60.0
_UNREACHABLE = (
    *("chat not found", "user not found", "peer_id_invalid", "group chat was deactivated"),
    *("not enough rights", "have no rights", "chat_write_forbidden", "chat_restricted"),
)


def bad_token() -> OperatorError:
    """The token was refused."""
    return OperatorError(
        "Telegram does not accept TELEGRAM_TOKEN. Ask @BotFather for the bot's token (/mybots, API Token) "
        "and put it into .env; if [telegram] api_url names a server of your own, check that address too."
    )


def retry_seconds(error: RetryAfter) -> float:
    """How long Telegram asks us to wait."""
    after = error.retry_after
    return after.total_seconds() if isinstance(after, dtm.timedelta) else float(after)


def send_error(error: TelegramError) -> SendError:
    """Why a message did not go out. After `SendLater` for a time-out it may be out all the same."""
    reason = error.message
    match error:
        case RetryAfter():
            return SendLater(retry_seconds(error), "throttled")
        case Forbidden():
            return SendRefused(reason)
        case ChatMigrated():
            return SendImpossible("migrated")
        case InvalidToken():  # the library's name for 401 and, for a method the server does not know, 404
            return SendImpossible(reason) if "not found" in reason.lower() else _token_refused()
        case BadRequest():
            unreachable = any(words in reason.lower() for words in _UNREACHABLE)
            return SendRefused(reason) if unreachable else SendImpossible(reason)
        case NetworkError() if "too large" in reason.lower():
            return SendImpossible("too_large")
    # What follows the colon may quote the request, and reasons are logged.
    return SendLater(NETWORK_RETRY_SECONDS, reason.split(":", 1)[0])


def _token_refused() -> SendLater:
    return SendLater(TOKEN_RETRY_SECONDS, "the token was refused")
