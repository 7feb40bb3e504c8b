"""Training: one at a time, from the good selfies; the old adapter serves until the new one is ready."""

from dataclasses import replace

from bot.conversation.intake import show_card as show_selfies
from bot.conversation.results import drop_outdated
from bot.conversation.standing import (
    cancel_training,
    next_buttons,
    next_training,
    pending,
    standing,
    style_buttons,
    train_button,
    training_values,
    usable,
)
from bot.conversation.turn import Turn, button
from bot.conversation.types import (
    Adapter,
    CancelWork,
    DropAdapter,
    StartTraining,
    Training,
    TrainingFailed,
    TrainingFinished,
    TrainingProgressed,
    TrainingStage,
)
from bot.conversation.welcome import ask_consent


def train_command(turn: Turn, _: str) -> None:
    """/train: start, or say what stands in the way."""
    _train(turn, next_training(turn), waits=True)


def train(turn: Turn, adapter_id: str) -> None:
    """The button for this very training."""
    _train(turn, adapter_id, waits=True)


def train_anyway(turn: Turn, adapter_id: str) -> None:
    """Start without the photos that are still being looked at."""
    _train(turn, adapter_id, waits=False)


def progressed(turn: Turn, event: TrainingProgressed) -> None:
    """Redraw the card. It never runs backwards, also when a worker starts over from a checkpoint."""
    training = turn.state.training
    if not training or training.adapter_id != event.adapter_id or event.stage not in set(TrainingStage):
        return
    fraction = min(max(event.fraction, 0.0), 1.0) if event.stage == TrainingStage.TRAINING else 0.0
    turn.change(
        training=replace(
            training,
            stage=TrainingStage(event.stage),
            fraction=max(fraction, training.fraction),
            eta_seconds=event.eta_seconds,
            ahead=max(0, event.ahead),
        )
    )
    _show_card(turn)


def finished(turn: Turn, event: TrainingFinished) -> None:
    """The adapter is ready. One that nobody waits for any more is deleted."""
    state, training = turn.state, turn.state.training
    if not training or training.adapter_id != event.adapter_id:
        if event.adapter_id not in (state.adapter.id if state.adapter else "", *state.outdated):
            turn.do(DropAdapter(event.adapter_id))
        return
    _close_card(turn, "done")
    turn.change(
        training=None,
        outdated=(*state.outdated, *([state.adapter.id] if state.adapter else [])),
        adapter=Adapter(
            training.adapter_id,
            turn.now,
            training.selfies,
            event.likeness,
            last_selfie=training.last_selfie,
            used_at=turn.now,
        ),
    )
    drop_outdated(turn)
    turn.news(
        training.place,
        "training_finished",
        style_buttons(turn),
        seconds=event.seconds,
        likeness=event.likeness,
        advice=list(event.advice),
        hours=turn.rules.retention_hours,
    )


def failed(turn: Turn, event: TrainingFailed) -> None:
    """It did not work out; selfies and an older adapter stay."""
    training = turn.state.training
    if not training or training.adapter_id != event.adapter_id:
        return
    _close_card(turn, "failed")
    starts = turn.state.recent_trainings
    turn.change(training=None, recent_trainings=tuple(at for at in starts if at != training.started_at))
    turn.news(
        training.place,
        "training_failed",
        [[train_button(turn, "retry"), button("upload")]],
        reason=event.reason,
        retraining=turn.state.adapter is not None,
    )


def cancel(turn: Turn) -> None:
    """Stop the training in flight."""
    training = turn.state.training
    assert training is not None
    _close_card(turn, "cancelled")
    turn.change(training=None)
    turn.do(CancelWork(training.adapter_id))
    turn.answer("training_cancelled", next_buttons(turn))


def _train(turn: Turn, adapter_id: str, *, waits: bool) -> None:
    state, chosen = turn.state, usable(turn.state)
    left = turn.left_today(state.recent_trainings, turn.rules.trainings_per_day)
    if not turn.consented:
        ask_consent(turn, "command")
    elif state.training:
        turn.answer("training_runs", [cancel_training(state)], **training_values(state))
    elif not turn.confidential and not state.home:
        turn.notice("notice_start", "selfies")
    elif len(chosen) < turn.rules.min_selfies:
        # As if there were no adapter: the question was about a new one.
        turn.answer("next", [[button("upload")]], lead="train", **(standing(turn) | {"stage": "collecting"}))
    elif adapter_id != next_training(turn):
        turn.answer("train_outdated", [[train_button(turn), button("upload")]])
    elif waits and pending(state):
        anyway = train_button(turn, "train_anyway", "train_anyway", count=len(chosen))
        turn.answer("train_pending", [[anyway]], pending=pending(state), good=len(chosen))
    elif not left:
        turn.answer("training_limit", seconds=turn.until_next(state.recent_trainings))
    else:
        _start(turn)


def _start(turn: Turn) -> None:
    # A later look at the whole set may clear refused ones, so there may be more than are taken in.
    state, chosen = turn.state, usable(turn.state)[: turn.rules.max_selfies]
    adapter_id = next_training(turn)
    place = turn.place if turn.confidential else state.home
    turn.change(
        trainings_started=state.trainings_started + 1,
        recent_trainings=(*turn.of_today(state.recent_trainings), turn.now),
        training=Training(
            adapter_id,
            TrainingStage.QUEUED,
            turn.now,
            place=place,
            selfies=len(chosen),
            last_selfie=state.selfies_seen,
        ),
    )
    turn.do(StartTraining(adapter_id, tuple(selfie.id for selfie in chosen)))
    show_selfies(turn)  # without its button
    _show_card(turn)
    if not turn.confidential:
        turn.notice("notice_private")


def _show_card(turn: Turn) -> None:
    training = turn.state.training
    if training and training.place:
        turn.tell(
            training.place,
            "training",
            [cancel_training(turn.state)],
            f"training:{training.adapter_id}",
            selfies=training.selfies,
            retraining=turn.state.adapter is not None,
            **training_values(turn.state),
        )


def _close_card(turn: Turn, how: str) -> None:
    training = turn.state.training
    if training and training.place:
        turn.tell(training.place, "training_over", card=f"training:{training.adapter_id}", how=how)
