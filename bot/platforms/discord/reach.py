"""How people can be reached just now: tokens of their interactions, and closed direct messages.

Kept in memory only: what a restart forgets is found out again by a call that fails.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

TOKEN_SECONDS = 15 * 60.0
TOKEN_MARGIN_SECONDS = 60.0  # a token so near its end is not begun with
ACK_SECONDS = 5.0  # longest wait for an interaction that is just being answered


@dataclass(frozen=True)
class Reply:
    """The handle of an interaction: what answers it, and until when (seconds since the epoch)."""

    interaction: str
    application: str
    token: str
    expires_at: float

    @classmethod
    def of(cls, handle: dict[str, Any] | None) -> "Reply | None":
        """From `Incoming.reply`; None without one."""
        return cls(**handle) if handle else None

    def handle(self) -> dict[str, Any]:
        """As `Incoming.reply`."""
        return asdict(self)


@dataclass
class _Open:
    reply: Reply
    user_id: str
    chat_id: str
    thinking: asyncio.Future[int | None]  # the message "is thinking...": its id, None where there is none
    alive: bool = True
    answered: bool = False


class Reach:
    """What is known of the people who did something in the last 15 minutes."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._open: dict[str, _Open] = {}  # by interaction id, oldest first
        self._closed: set[str] = set()  # people who take no direct messages

    def opened(self, reply: Reply, user_id: str, chat_id: str) -> asyncio.Future[int | None]:
        """Somebody did something. The result is to be set once Discord has its first answer."""
        self._forget_old()
        self.heard_from(user_id)
        known = _Open(reply, user_id, chat_id, asyncio.get_running_loop().create_future())
        self._open[reply.interaction] = known
        return known.thinking

    def heard_from(self, user_id: str) -> None:
        """They may have opened their direct messages."""
        self._closed.discard(user_id)

    def closed(self, user_id: str) -> None:
        """They take no direct messages."""
        self._closed.add(user_id)

    def is_closed(self, user_id: str) -> bool:
        """Direct messages were refused since they were last heard from."""
        return user_id in self._closed

    def own(self, handle: dict[str, Any] | None) -> Reply | None:
        """The token of the event itself, if it lives."""
        reply = Reply.of(handle)
        return reply if reply and self._is_fresh(reply) else None

    def token(self, handle: dict[str, Any] | None, user_id: str, chat_id: str) -> Reply | None:
        """A live token to answer this person there: the one of the event, else of what they did last."""
        if own := self.own(handle):
            return own
        for known in reversed(self._open.values()):
            if (known.user_id, known.chat_id) == (user_id, chat_id) and self._is_fresh(known.reply):
                return known.reply
        return None

    async def thinking(self, reply: Reply) -> int | None:
        """The message that still shows "is thinking..."; waits while the interaction is being answered."""
        known = self._open.get(reply.interaction)
        if known is None or known.answered:
            return None
        await asyncio.wait({known.thinking}, timeout=ACK_SECONDS)
        return known.thinking.result() if known.thinking.done() else None

    def is_known(self, reply: Reply) -> bool:
        """It came in since this process began."""
        return reply.interaction in self._open

    def answered(self, reply: Reply) -> None:
        """ "is thinking..." was replaced."""
        if reply.interaction in self._open:
            self._open[reply.interaction].answered = True

    def died(self, reply: Reply) -> None:
        """Discord takes nothing under this token any more."""
        known = self._open.setdefault(
            reply.interaction, _Open(reply, "", "", asyncio.get_running_loop().create_future())
        )
        known.alive = False

    def left_thinking(self, seconds: float) -> list[tuple[Reply, int]]:
        """Those whose "is thinking..." nobody replaced for so long."""
        before = self._clock() + TOKEN_SECONDS - seconds
        return [
            (known.reply, known.thinking.result() or 0)
            for known in self._open.values()
            if known.alive and not known.answered and known.reply.expires_at < before
            and known.thinking.done() and known.thinking.result()
        ]  # fmt: skip

    def _is_fresh(self, reply: Reply) -> bool:
        known = self._open.get(reply.interaction)
        alive = known.alive if known else True
        return alive and self._clock() < reply.expires_at - TOKEN_MARGIN_SECONDS

    def _forget_old(self) -> None:
        now = self._clock()
        for id in [id for id, known in self._open.items() if known.reply.expires_at < now]:
            del self._open[id]
