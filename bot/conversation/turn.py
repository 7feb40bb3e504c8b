"""One turn of the conversation: the state as it changes, and the effects as they gather.

`advance` makes one, hands it to the handler of the event, and takes out the new state and the effects;
nothing of it outlives that call. Here too: to whom an answer may be shown, and where.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bot.conversation.types import Button, Effect, Incoming, Place, Rules, Say, State
from bot.styles import Catalogue
from bot.texts import label

DAY_SECONDS = 24 * 3600.0
HOUR_SECONDS = 3600.0
ROW_MAX, ROWS_MAX = 5, 5  # buttons in a row, rows: what every platform takes
LABEL_MAX = 38
SETTLE_SECONDS = 2.0  # photos come in flocks: a card about them goes below the last one, not below each

Rows = Sequence[Sequence[Button]]


@dataclass
class Turn:
    """What the handlers of one event work on."""

    state: State
    incoming: Incoming
    now: float
    rules: Rules
    styles: Catalogue
    effects: list[Effect] = field(default_factory=list)

    @property
    def place(self) -> Place:
        """Where it happened."""
        return self.incoming.place

    @property
    def confidential(self) -> bool:
        """Only this person sees what is said here and now."""
        return self.place.private or self.incoming.can_whisper

    @property
    def consented(self) -> bool:
        """Agreed to what the consent card promises today."""
        return self.state.consent_version == self.rules.consent_version

    def change(self, **fields: Any) -> None:
        """The state, with these fields changed."""
        self.state = replace(self.state, **fields)

    def do(self, *effects: Effect) -> None:
        """Something happens beside what is said."""
        self.effects.extend(effects)

    def tell(
        self,
        to: Place,
        key: str,
        buttons: Rows = (),
        card: str = "",
        below_after: float | None = None,
        **values: Any,
    ) -> None:
        """Something personal, to a place that was found fit for it; others there do not see it."""
        self.do(Say(to, key, values, rows(buttons), card, below_after, whisper=not to.private))

    def announce(self, to: Place, key: str, buttons: Rows = (), card: str = "", **values: Any) -> None:
        """Something that everybody in the place may see."""
        self.do(Say(to, key, values, rows(buttons), card))

    def answer(
        self, key: str, buttons: Rows = (), card: str = "", below_after: float | None = None, **values: Any
    ) -> None:
        """Something personal, in reply: here if nobody else sees it, else in the private chat."""
        if self.confidential:
            self.tell(self.place, key, buttons, card, below_after, **values)
        elif self.state.home:
            self.tell(self.state.home, key, buttons, card, below_after, **values)
            self.notice("notice_private")
        else:
            self.notice("notice_start")

    def notice(self, key: str, payload: str = "") -> None:
        """A short public line with the way to the private chat; one a turn."""
        if not any(isinstance(effect, Say) and effect.to == self.place for effect in self.effects):
            self.announce(self.place, key, [[button("private", payload)]])

    def news(self, asked_in: Place | None, key: str, buttons: Rows = (), **values: Any) -> None:
        """Something personal that nobody said just now: to the private chat, else whispered.

        Work is asked for without a private chat only where the platform can whisper.
        """
        to = asked_in if asked_in and asked_in.private else self.state.home or asked_in
        if to:
            self.tell(to, key, buttons, **values)

    def new_id(self, kind: str, *parts: object) -> str:
        """An id that is the same whenever this turn is taken again, and never comes up for anything else.

        `consent_at` is in it: who deletes everything and comes back gets other ids.
        """
        text = "\0".join(map(str, (self.state.person_id, self.state.consent_at, kind, *parts)))
        return kind[0] + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def left_today(self, starts: Sequence[float], allowed: int) -> int:
        """How many more may start now."""
        return max(0, allowed - len(self.of_today(starts)))

    def until_next(self, starts: Sequence[float]) -> float:
        """Seconds until the oldest of the last 24 hours counts no more."""
        return DAY_SECONDS - (self.now - min(self.of_today(starts), default=self.now))

    def of_today(self, starts: Sequence[float]) -> tuple[float, ...]:
        """Those within the last 24 hours."""
        return tuple(start for start in starts if self.now - start < DAY_SECONDS)


def button(action: str, argument: object = "", said: str = "", **values: object) -> Button:
    """A button; `said` names its label where that is not the action's own."""
    words = label(said or action, **values)
    return Button(words if len(words) <= LABEL_MAX else words[: LABEL_MAX - 1] + "…", action, str(argument))


def rows(buttons: Rows) -> tuple[tuple[Button, ...], ...]:
    """As many as every platform shows."""
    return tuple(tuple(row[:ROW_MAX]) for row in buttons if row)[:ROWS_MAX]


def in_rows(buttons: Sequence[Button], width: int) -> list[list[Button]]:
    """Buttons side by side."""
    return [list(buttons[start : start + width]) for start in range(0, len(buttons), width)]
