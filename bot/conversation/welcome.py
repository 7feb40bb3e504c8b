"""Coming in: /start with and without a payload, and consent. Nothing of a person is kept before it."""

from bot.conversation import groups
from bot.conversation.standing import next_buttons, standing
from bot.conversation.turn import Turn, button
from bot.conversation.types import RecordConsent, Started

CARD_SECONDS = 600  # photos of one album come within that time: one card is enough for all


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
    """The consent card; `why` is start, photos or command. Photos share one card, they come in flocks."""
    old = turn.state.consent_version is not None
    card = f"consent:{int(turn.now // CARD_SECONDS)}" if why == "photos" else ""
    turn.answer(
        "consent",
        [[button("consent_yes")], [button("consent_no")]],
        card,
        why="changed" if old and why != "photos" else why,
        hours=turn.rules.retention_hours,
        days=turn.rules.adapter_idle_days,
        marked=turn.rules.marked,
    )


def agree(turn: Turn, _: str) -> None:
    """The person pressed yes."""
    if turn.consented:
        turn.answer("next", next_buttons(turn), lead="agreed", **standing(turn))
    elif not turn.confidential:
        ask_consent(turn, "start")  # consent is given where its card can be read
    else:
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
        turn.answer("consent_no")


def upload(turn: Turn, _: str) -> None:
    """The button for photos on a platform where they are simply sent."""
    if not turn.consented:
        ask_consent(turn, "command")
    else:
        turn.answer("next", next_buttons(turn), lead="upload", **standing(turn))


def open_private(turn: Turn, payload: str) -> None:
    """The button into the private chat, on a platform without links into it."""
    started(turn, Started(payload))
