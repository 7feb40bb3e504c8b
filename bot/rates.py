"""How fast a platform may be written to: token buckets for a chat, for a group, and altogether."""

from collections import OrderedDict

from bot.conversation.types import Place
from bot.platforms.base import Capabilities

CHAT_BURST = 3.0  # messages in a row to one chat before its interval counts
CHATS_REMEMBERED = 10_000


class Bucket:
    """`rate` tokens a second, at most `burst` of them kept. A rate of 0 never holds anything back."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, max(1.0, burst)
        self._tokens, self._at = self._burst, 0.0

    def wait_seconds(self, now: float) -> float:
        """How long until something may be taken; 0.0 = now."""
        if self._rate <= 0:
            return 0.0
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        return max(0.0, (1.0 - self._tokens) / self._rate)

    def take(self, count: int = 1) -> None:
        """Take tokens, on credit where there are too few: who takes next waits longer."""
        self._tokens -= count


class Rates:
    """The limits of one platform."""

    def __init__(self, capabilities: Capabilities) -> None:
        self._capabilities = capabilities
        self._total = Bucket(capabilities.total_per_second, capabilities.total_per_second)
        self._chats: OrderedDict[str, list[Bucket]] = OrderedDict()

    def wait_seconds(self, now: float) -> float:
        """How long nothing may go out to anybody."""
        return self._total.wait_seconds(now)

    def chat_wait_seconds(self, place: Place, now: float) -> float:
        """How long nothing may go out to this chat."""
        return max(bucket.wait_seconds(now) for bucket in self._of(place))

    def take(self, place: Place, count: int) -> None:
        """So many messages go out to this chat."""
        for bucket in (self._total, *self._of(place)):
            bucket.take(count)

    def _of(self, place: Place) -> list[Bucket]:
        if place.chat_id not in self._chats:
            interval, group = self._capabilities.chat_interval_seconds, self._capabilities.group_per_minute
            buckets = [Bucket(1 / interval if interval else 0.0, CHAT_BURST)]
            if group and not place.private:
                buckets.append(Bucket(group / 60, group))
            self._chats[place.chat_id] = buckets
            if len(self._chats) > CHATS_REMEMBERED:
                self._chats.popitem(last=False)
        self._chats.move_to_end(place.chat_id)
        return self._chats[place.chat_id]
