"""Selfies: taken in private only, one card for all of them, verdicts as they come."""

import hashlib
from dataclasses import replace
from typing import Any

from bot.conversation.standing import train_button, usable
from bot.conversation.turn import SETTLE_SECONDS, Turn, button, in_rows
from bot.conversation.types import (
    Button,
    DropSelfies,
    FileRef,
    Intake,
    KeepSelfie,
    PhotosSent,
    Place,
    Selfie,
    SelfieLost,
    SelfiesJudged,
    Verdict,
)
from bot.conversation.welcome import ask_consent

FLOCK_SECONDS = 900  # after so long without a photo what was not taken is told anew
ANYWAY_MAX = 9  # buttons for single doubtful photos
LOST = "lost"
EARLY_SECONDS = 600  # before the store does it: no training is begun from selfies that are about to go
REASONS = {"gone": LOST, "too_large": "file_too_large"}
ALL = "all"


def photos_sent(turn: Turn, event: PhotosSent) -> None:
    """Keep what is new, and show the card."""
    if not turn.confidential:
        turn.announce(turn.place, "selfies_private", [[button("private", "selfies")]])
    elif not turn.consented:
        ask_consent(turn, "photos")
    else:
        _begin_card(turn, turn.place)
        for photo in event.photos:
            _take(turn, photo)
        _drop_old_refusals(turn)
        show_card(turn, below_after=SETTLE_SECONDS)


def judged(turn: Turn, event: SelfiesJudged) -> None:
    """Verdicts from the engine, also changed ones."""
    verdicts = {each.selfie_id: each for each in event.verdicts}
    _revise(
        turn,
        tuple(
            replace(selfie, verdict=verdicts[selfie.id].verdict, problems=verdicts[selfie.id].problems)
            if selfie.id in verdicts and LOST not in selfie.problems
            else selfie
            for selfie in turn.state.selfies
        ),
    )


def lost(turn: Turn, event: SelfieLost) -> None:
    """A photo never arrived."""
    problem = REASONS.get(event.reason, LOST)
    _revise(
        turn,
        tuple(
            replace(selfie, verdict=Verdict.REFUSED, problems=(problem,))
            if selfie.id == event.selfie_id
            else selfie
            for selfie in turn.state.selfies
        ),
    )


def use_anyway(turn: Turn, number: str) -> None:
    """The person overrules the soft problems of one photo, or of all."""
    chosen = [
        selfie
        for selfie in turn.state.selfies
        if _is_open_question(selfie) and number in (str(selfie.number), ALL)
    ]
    if not turn.consented:
        ask_consent(turn, "command")
    elif not chosen:
        _not_that_one(turn, number)
    else:
        overruled = {selfie.id for selfie in chosen}
        turn.change(
            selfies=tuple(
                replace(selfie, overridden=True) if selfie.id in overruled else selfie
                for selfie in turn.state.selfies
            )
        )
        if turn.state.intake and turn.state.intake.place == turn.place:
            show_card(turn)
        else:
            turn.answer("selfies_used" if number == ALL else "selfie_used", number=number)


def remove(turn: Turn, number: str) -> None:
    """Take a photo out and delete it."""
    wanted = number.strip().lstrip("#")
    chosen = [selfie for selfie in turn.state.selfies if str(selfie.number) == wanted]
    if not wanted:
        turn.answer("remove_how")
    elif not chosen:
        _not_that_one(turn, wanted)
    else:
        turn.change(selfies=tuple(selfie for selfie in turn.state.selfies if selfie not in chosen))
        turn.do(DropSelfies(tuple(selfie.id for selfie in chosen)))
        if turn.state.intake:
            show_card(turn)
        turn.answer("selfie_removed", number=chosen[0].number)


def selfies(turn: Turn, _: str) -> None:
    """/selfies: the card, at the bottom of the chat."""
    if not turn.consented:
        ask_consent(turn, "command")
    elif not turn.confidential and not turn.state.home:
        turn.notice("notice_start", "selfies")
    else:
        _begin_card(turn, turn.place if turn.confidential else turn.state.home or turn.place)
        show_card(turn, below_after=0.0)
        if not turn.confidential:
            turn.notice("notice_private")


def show_card(turn: Turn, below_after: float | None = None) -> None:
    """Draw the card as things are now."""
    intake = turn.state.intake
    if intake:
        turn.tell(intake.place, "intake", card_buttons(turn), "intake", below_after, **_card_values(turn))


def card_buttons(turn: Turn) -> list[list[Button]]:
    """Train now, use a doubtful one anyway. A training that runs has its own card."""
    state = turn.state
    enough = len(usable(state)) >= turn.rules.min_selfies
    doubtful = [selfie for selfie in state.selfies if _is_open_question(selfie)]
    first = [train_button(turn)] if enough and not state.training else []
    anyway = [button("use_anyway", each.number, number=each.number) for each in doubtful[:ANYWAY_MAX]]
    everything = [button("use_anyway", ALL, "use_all")] if len(doubtful) > 1 else []
    return [[*first, button("upload")], *in_rows(anyway, 3), everything]


def forget_trained(turn: Turn) -> None:
    """Selfies that a training learned from are deleted some hours after it, here as in the store."""
    adapter = turn.state.adapter
    if not adapter or turn.now - adapter.trained_at < turn.rules.retention_hours * 3600 - EARLY_SECONDS:
        return
    gone = tuple(selfie for selfie in turn.state.selfies if selfie.number <= adapter.last_selfie)
    if gone:
        turn.do(DropSelfies(tuple(selfie.id for selfie in gone)))
        turn.change(selfies=turn.state.selfies[len(gone) :])


def _begin_card(turn: Turn, place: Place) -> None:
    old = turn.state.intake
    if old and old.place == place and turn.now - old.touched_at < FLOCK_SECONDS:
        turn.change(intake=replace(old, touched_at=turn.now))
    else:
        turn.change(intake=Intake(place, turn.now))


def _take(turn: Turn, photo: FileRef) -> None:
    state, intake = turn.state, turn.state.intake
    assert intake is not None
    key = hashlib.sha256(photo.unique_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    known = [selfie for selfie in state.selfies if selfie.file_key == key]
    again = [selfie for selfie in known if LOST in selfie.problems]
    if known and not again:
        turn.change(intake=replace(intake, repeated=intake.repeated + 1))
    elif photo.size_bytes > turn.rules.max_photo_bytes:
        turn.change(intake=replace(intake, too_large=intake.too_large + 1))
    elif sum(selfie.verdict is not Verdict.REFUSED for selfie in state.selfies) >= turn.rules.max_selfies:
        turn.change(intake=replace(intake, extra=intake.extra + 1))
    else:
        number = state.selfies_seen + 1
        selfie = Selfie(turn.new_id("photo", key, number), number, file_key=key)
        kept = tuple(each for each in state.selfies if each not in again)
        turn.change(selfies=(*kept, selfie), selfies_seen=number)
        if again:
            turn.do(DropSelfies(tuple(each.id for each in again)))
        turn.do(KeepSelfie(selfie.id, number, photo))


def _drop_old_refusals(turn: Turn) -> None:
    """Refused photos are of no use; only so many are kept that the card can speak of them."""
    refused = [selfie for selfie in turn.state.selfies if selfie.verdict is Verdict.REFUSED]
    old = refused[: max(0, len(refused) - turn.rules.max_selfies)]
    if old:
        turn.change(selfies=tuple(selfie for selfie in turn.state.selfies if selfie not in old))
        turn.do(DropSelfies(tuple(selfie.id for selfie in old)))


def _revise(turn: Turn, revised: tuple[Selfie, ...]) -> None:
    if revised != turn.state.selfies:
        turn.change(selfies=revised)
        show_card(turn)


def _not_that_one(turn: Turn, number: str) -> None:
    known = any(str(selfie.number) == number for selfie in turn.state.selfies)
    if number == ALL or known:
        turn.answer("selfie_not_doubtful")
    else:
        turn.answer("selfie_unknown", typed=number)


def _card_values(turn: Turn) -> dict[str, Any]:
    state, rules, intake = turn.state, turn.rules, turn.state.intake
    return {
        "selfies": [[each.number, _shown_state(each), (*each.problems, "")[0]] for each in state.selfies],
        "min": rules.min_selfies,
        "wanted": rules.wanted_selfies,
        "max": rules.max_selfies,
        "max_mib": rules.max_photo_bytes // (1024 * 1024),
        "training": state.training is not None,
        "for_next": bool(state.training and state.selfies_seen > state.training.last_selfie),
        "extra": intake.extra if intake else 0,
        "too_large": intake.too_large if intake else 0,
        "repeated": intake.repeated if intake else 0,
    }


def _is_open_question(selfie: Selfie) -> bool:
    return selfie.verdict is Verdict.DOUBTFUL and not selfie.overridden


def _shown_state(selfie: Selfie) -> str:
    return "good" if selfie.usable else selfie.verdict.value
