"""Headshots that are ready: shown where they may be seen, or sent as originals."""

from dataclasses import replace

from bot.conversation import groups
from bot.conversation.shooting import close_card, wish_in_words
from bot.conversation.standing import Stage, stage, style_buttons
from bot.conversation.turn import HOUR_SECONDS, Turn, button
from bot.conversation.types import (
    Button,
    DropAdapter,
    FinishedShoot,
    Place,
    Shoot,
    ShootFailed,
    ShootFinished,
    ShowHeadshots,
)

REMEMBERED = 12  # finished shoots
NO_ADAPTER = ("adapter_corrupt", "adapter_missing")


def finished(turn: Turn, event: ShootFinished) -> None:
    """Show them where they may be seen."""
    shoot = _take_out(turn, event.shoot_id)
    if shoot is None:
        return
    done = FinishedShoot(shoot.id, shoot.wish, event.headshot_ids, turn.now, shoot.adapter_id)
    turn.change(finished=(*turn.state.finished, done)[-REMEMBERED:])
    drop_outdated(turn)
    close_card(turn, shoot, "done")
    _show(turn, _where(turn, shoot.place), done, event)


def failed(turn: Turn, event: ShootFailed) -> None:
    """Why not; the try does not count. An adapter that cannot be used any more is forgotten."""
    shoot = _take_out(turn, event.shoot_id)
    if shoot is None:
        return
    turn.change(recent=tuple(at for at in turn.state.recent if at != shoot.started_at))
    close_card(turn, shoot, "failed")
    adapter = turn.state.adapter
    lost = event.reason in NO_ADAPTER and adapter is not None and adapter.id == shoot.adapter_id
    if lost:
        turn.change(adapter=None, outdated=(*turn.state.outdated, shoot.adapter_id))
    else:
        _remember_wish(turn, shoot)
    drop_outdated(turn)
    buttons = [[button("upload")]] if lost else [[button("again", shoot.id, said="retry"), button("styles")]]
    wish = wish_in_words(turn, shoot.wish)
    if groups.is_open(turn, shoot.place):
        turn.announce(shoot.place, "shoot_failed", buttons, reason=event.reason, wish=wish)
    else:
        turn.news(shoot.place, "shoot_failed", buttons, reason=event.reason, wish=wish)


def originals(turn: Turn, shoot_id: str) -> None:
    """The pictures as files, with their mark of origin, to the person alone."""
    done = available(turn, shoot_id)
    if done:
        target = turn.place if turn.confidential else turn.state.home
        turn.answer("originals")
        if target:
            whisper = not target.private
            turn.do(ShowHeadshots(target, done.id, done.headshot_ids, whisper, as_files=True))


def drop_outdated(turn: Turn) -> None:
    """Delete replaced adapters once no shoot needs them, and forget the headshots that go with them."""
    in_use = {shoot.adapter_id for shoot in turn.state.shoots}
    over = tuple(adapter_id for adapter_id in turn.state.outdated if adapter_id not in in_use)
    if over:
        turn.do(*(DropAdapter(adapter_id) for adapter_id in over))
        turn.change(
            outdated=tuple(each for each in turn.state.outdated if each in in_use),
            finished=tuple(
                replace(done, headshot_ids=()) if done.adapter_id in over else done
                for done in turn.state.finished
            ),
        )


def stored_headshots(turn: Turn) -> int:
    """How many headshots are still there."""
    return sum(len(done.headshot_ids) for done in turn.state.finished if not _is_gone(turn, done))


def _show(turn: Turn, target: Place, done: FinishedShoot, event: ShootFinished) -> None:
    in_group = groups.is_open(turn, target)
    turn.do(ShowHeadshots(target, done.id, done.headshot_ids, whisper=not (target.private or in_group)))
    say = turn.announce if in_group else turn.tell
    say(
        target,
        "shoot_done",
        _next(turn, done),
        wish=wish_in_words(turn, done.wish),
        count=len(event.headshot_ids),
        tried=event.tried,
        reached=event.reached,
        lacking=list(event.lacking),
    )


def _next(turn: Turn, done: FinishedShoot) -> list[list[Button]]:
    return [
        [button("again", done.id), button("originals", done.id)],
        [button("more_like_this", done.id), button("not_me", done.id)],
        *style_buttons(turn)[:1],
        [button("styles")],
    ]


def _where(turn: Turn, place: Place) -> Place:
    """The place itself where all there may see them, else the private chat, else whispered."""
    return place if place.private or groups.is_open(turn, place) else turn.state.home or place


def available(turn: Turn, shoot_id: str) -> FinishedShoot | None:
    """The finished shoot, if its headshots are still there; says so if not."""
    for done in turn.state.finished:
        if done.id == shoot_id and not _is_gone(turn, done):
            return done
        if done.id == shoot_id:
            turn.answer("originals_gone", [[button("again", shoot_id)]])
            return None
    turn.answer("shoot_unknown", style_buttons(turn) if stage(turn) is Stage.READY else [])
    return None


def _is_gone(turn: Turn, done: FinishedShoot) -> bool:
    return not done.headshot_ids or turn.now - done.finished_at >= turn.rules.headshot_hours * HOUR_SECONDS


def _take_out(turn: Turn, shoot_id: str) -> Shoot | None:
    """The shoot, which is in flight no more; None if nobody waits for it."""
    found = next((shoot for shoot in turn.state.shoots if shoot.id == shoot_id), None)
    if found:
        turn.change(shoots=tuple(shoot for shoot in turn.state.shoots if shoot is not found))
    return found


def _remember_wish(turn: Turn, shoot: Shoot) -> None:
    """So that `again` knows what was wished."""
    nothing = FinishedShoot(shoot.id, shoot.wish, (), turn.now, shoot.adapter_id)
    turn.change(finished=(*turn.state.finished, nothing)[-REMEMBERED:])
