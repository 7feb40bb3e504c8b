"""What is stored, why, and the way out: /privacy, /mydata, /deleteme."""

from bot.conversation.results import stored_headshots
from bot.conversation.standing import in_flight, next_buttons
from bot.conversation.turn import Turn, button
from bot.conversation.types import CancelWork, ForgetPerson, RecordConsent, SendExport, State


def privacy(turn: Turn, _: str) -> None:
    """The policy; also for those who have not agreed to anything."""
    rules = turn.rules
    turn.answer(
        "privacy",
        [[button("export"), button("forget")]] if turn.state.consent_version is not None else [],
        contact=rules.operator_contact,
        base=rules.base_name or "small demo model",
        hours=rules.retention_hours,
        headshot_hours=rules.headshot_hours,
        marked=rules.marked,
        days=rules.adapter_idle_days,
    )


def mydata(turn: Turn, _: str) -> None:
    """What is stored about this person."""
    state, adapter = turn.state, turn.state.adapter
    turn.answer(
        "mydata",
        [[button("export")], [button("forget")]],
        platform=state.person.platform.capitalize(),
        name=state.person.name or state.person.user_id,
        consent_at=state.consent_at,
        selfies=len(state.selfies),
        trained_at=adapter.trained_at if adapter else None,
        trained_from=adapter.selfies if adapter else 0,
        headshots=stored_headshots(turn),
        in_flight=len(in_flight(state)),
        groups=len(state.open_groups),
    )


def export(turn: Turn, _: str) -> None:
    """All of it as a file, to the person alone."""
    target = turn.place if turn.confidential else turn.state.home
    turn.answer("export_coming")
    if target:
        turn.do(SendExport(target, whisper=not target.private))


def delete(turn: Turn, _: str) -> None:
    """Ask before everything is deleted."""
    if not turn.confidential and not turn.state.home:
        turn.notice("notice_start")
        return
    turn.change(confirming_deletion=True)
    turn.answer(
        "delete_confirm",
        [[button("forget_yes")], [button("forget_no")]],
        in_flight=len(in_flight(turn.state)),
    )


def forget(turn: Turn, argument: str) -> None:
    """Delete everything. A button that lay around is asked about once more."""
    state = turn.state
    if not state.confirming_deletion:
        delete(turn, argument)
        return
    turn.do(*(CancelWork(subject_id) for subject_id in in_flight(state)))
    if state.consent_version is not None:
        turn.do(RecordConsent(None))
    turn.do(ForgetPerson())
    turn.answer(
        "deleted",
        [[button("start")]],
        at=turn.now,
        selfies=len(state.selfies),
        models=1 if state.adapter else 0,
        headshots=stored_headshots(turn),
        in_flight=len(in_flight(state)),
    )
    turn.state = State(person_id=state.person_id, person=state.person)


def keep(turn: Turn, _: str) -> None:
    """The person thought better of it."""
    turn.change(confirming_deletion=False)
    turn.answer("delete_kept", next_buttons(turn))
