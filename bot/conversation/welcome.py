"""Coming in: /start with and without a payload, and consent. Nothing of a person is kept before it."""

from typing import Any

from bot.conversation import groups
from bot.conversation.standing import next_buttons, standing
from bot.conversation.turn import SETTLE_SECONDS, Turn, button
from bot.conversation.types import RecordConsent, Started


def started(turn: Turn, event: Started) -> None:
    """/start: the consent card for a stranger, else where they stand or what the link was about."""
    if not turn.consented:
        ask_consent(turn, "start")
    elif event.payload.startswith(groups.PAYLOAD):
        groups.offer(turn, event.payload.removeprefix(groups.PAYLOAD))
    elif event.payload == "selfies":
        upload(turn, "")
    else:
        turn.answer("next", next_buttons(turn), lead="back", **standing(turn))


def ask_consent(turn: Turn, why: str) -> None:
    """The consent card; `why` is start, photos or command."""
    old = turn.state.consent_version is not None
    answers = [[button("consent_yes", turn.rules.consent_version)], [button("consent_no")]]
    below_after = SETTLE_SECONDS if why == "photos" else 0.0
    turn.answer("consent", answers, _card(turn), below_after, **_promises(turn, "changed" if old else why))


def agree(turn: Turn, version: str) -> None:
    """The person pressed yes, below the promises of that version."""
    if turn.consented:
        turn.answer("next", next_buttons(turn), lead="agreed", **standing(turn))
    elif not turn.confidential:
        ask_consent(turn, "start")  # consent is given where its card can be read
    elif version != str(turn.rules.consent_version):
        ask_consent(turn, "changed")
    else:
        turn.answer("consent", card=_card(turn), **_promises(turn, "agreed"))
        turn.change(consent_version=turn.rules.consent_version, consent_at=turn.now)
        turn.do(RecordConsent(turn.rules.consent_version))
        turn.answer(
            "welcome", [[button("upload")]], wanted=turn.rules.wanted_selfies, min=turn.rules.min_selfies
        )


def decline(turn: Turn, _: str) -> None:
    """The person pressed no. Who had agreed before takes that back by /deleteme, not by an old button."""
    if turn.consented:
        turn.answer("next", next_buttons(turn), lead="agreed", **standing(turn))
    else:
        turn.answer("consent_no", card=_card(turn), kept=turn.state.consent_version is not None)


def upload(turn: Turn, _: str) -> None:
    """The button for photos on a platform where they are simply sent."""
    if not turn.consented:
        ask_consent(turn, "command")
    else:
        turn.answer("next", next_buttons(turn), lead="upload", **standing(turn))


def open_private(turn: Turn, payload: str) -> None:
    """The button into the private chat, on a platform without links into it."""
    started(turn, Started(payload))


def _card(turn: Turn) -> str:
    """One card for each version: what was agreed to stays to be read."""
    return f"consent:{turn.rules.consent_version}"


def _promises(turn: Turn, why: str) -> dict[str, Any]:
    rules = turn.rules
    return {
        "why": why,
        "hours": rules.retention_hours,
        "days": rules.adapter_idle_days,
        "marked": rules.marked,
    }
