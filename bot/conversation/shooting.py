"""Asking for headshots: what was typed becomes a shoot, or a sentence about what is missing."""

from dataclasses import replace

from bot.conversation import groups
from bot.conversation.standing import Stage, next_buttons, stage, standing, style_buttons
from bot.conversation.turn import DAY_SECONDS, Turn, button, in_rows
from bot.conversation.types import CancelWork, DropAdapter, Place, Shoot, StartShoot
from bot.conversation.welcome import ask_consent
from bot.styles import StyleRequest, UnknownStyle

SHOOTS_AT_ONCE = 3
ARGUMENT_MAX_BYTES = 40  # of a button


def headshot(turn: Turn, typed: str) -> None:
    """/headshot and what was typed behind it."""
    wish = turn.styles.parse(typed)
    if not turn.consented:
        ask_consent(turn, "command")
    elif isinstance(wish, UnknownStyle):
        _offer_nearest(turn, wish)
    elif wish.unsafe:
        turn.answer("style_unsafe", style_buttons(turn))
    elif stage(turn) is not Stage.READY and not turn.state.adapter:
        if wish.style:
            turn.change(last_style=wish.style)  # offered first when the training is done
        turn.answer("next", next_buttons(turn), lead="headshot", **standing(turn))
    elif not (wish.style or turn.state.last_style):
        turn.answer("style_choose", style_buttons(turn))
    elif _has_room(turn):
        _start(turn, replace(wish, style=wish.style or turn.state.last_style))


def style(turn: Turn, argument: str) -> None:
    """A style's button: its argument is a style, with or without further wishes."""
    headshot(turn, argument)


def again(turn: Turn, shoot_id: str) -> None:
    """The same once more, with other results."""
    wishes = {done.id: done.wish for done in turn.state.finished}
    wishes |= {shoot.id: shoot.wish for shoot in turn.state.shoots}
    if shoot_id in wishes:
        headshot(turn, wishes[shoot_id].split(", seed ")[0])
    else:
        turn.answer("shoot_unknown", style_buttons(turn) if stage(turn) is Stage.READY else [])


def cancel(turn: Turn, shoot: Shoot) -> None:
    """Stop a shoot in flight."""
    turn.change(shoots=tuple(each for each in turn.state.shoots if each != shoot))
    turn.do(CancelWork(shoot.id))
    close_card(turn, shoot, "cancelled")
    turn.answer("shoot_cancelled", wish=wish_in_words(turn, shoot.wish))


def forget_idle_adapter(turn: Turn) -> bool:
    """An adapter that nobody used for long is deleted, here as in the store; whether it was."""
    adapter = turn.state.adapter
    idle_seconds = turn.rules.adapter_idle_days * DAY_SECONDS
    if not adapter or turn.state.shoots or turn.now - max(adapter.used_at, adapter.trained_at) < idle_seconds:
        return False
    turn.do(DropAdapter(adapter.id))
    turn.change(adapter=None)
    return True


def wish_in_words(turn: Turn, wish: str) -> str:
    """`LinkedIn, no tie, smile`: a wish as people read it."""
    request = turn.styles.parse(wish)
    if isinstance(request, UnknownStyle):
        return wish
    named = turn.styles.get(request.style)
    return ", ".join(part for part in (named.label if named else "", *request.wishes) if part) or wish


def show_card(turn: Turn, shoot: Shoot, wish: StyleRequest, asked: int) -> None:
    """The card of a shoot that begins."""
    in_group = groups.is_open(turn, shoot.place)
    (turn.announce if in_group else turn.tell)(
        shoot.place,
        "shoot",
        [[button("cancel", shoot.id)]],
        f"shoot:{shoot.id}",
        count=shoot.count,
        wish=wish_in_words(turn, shoot.wish),
        unknown=list(wish.unknown),
        most=shoot.count if asked > shoot.count else 0,
    )


def close_card(turn: Turn, shoot: Shoot, how: str) -> None:
    """What stays of a shoot's card."""
    in_group = groups.is_open(turn, shoot.place)
    (turn.announce if in_group else turn.tell)(
        shoot.place,
        "shoot_over",
        card=f"shoot:{shoot.id}",
        how=how,
        wish=wish_in_words(turn, shoot.wish),
    )


def _offer_nearest(turn: Turn, unknown: UnknownStyle) -> None:
    """Buttons with the nearest styles; further wishes go along where a button can carry them."""
    found = [style for style in map(turn.styles.get, unknown.nearest) if style]
    buttons = [button("style", style.id, label=style.label) for style in found]
    turn.answer("style_unknown", [*in_rows(buttons, 3), [button("styles")]], typed=unknown.typed)


def _has_room(turn: Turn) -> bool:
    """Says what stands in the way where something does."""
    state, rules = turn.state, turn.rules
    if len(state.shoots) >= SHOOTS_AT_ONCE:
        stops = [
            [button("cancel", each.id, "cancel_shoot", wish=wish_in_words(turn, each.wish))]
            for each in state.shoots
        ]
        turn.answer("shoots_too_many", stops, count=len(state.shoots))
        return False
    if not turn.left_today(state.recent, rules.shoots_per_day):
        turn.answer("shoot_limit", seconds=turn.until_next(state.recent))
        return False
    if not (turn.confidential or groups.is_open(turn, turn.place) or state.home):
        turn.notice("notice_start", groups.PAYLOAD + turn.place.chat_id)
        return False
    return True


def _start(turn: Turn, wish: StyleRequest) -> None:
    state, rules = turn.state, turn.rules
    adapter = state.adapter
    assert adapter is not None
    number, most = state.shoots_started + 1, rules.max_headshots_per_shoot
    asked = wish.count or 0
    wish = replace(wish, count=min(asked, most) or None)
    shoot = Shoot(
        turn.new_id("shoot", number),
        wish.style,
        wish.count or rules.headshots_per_shoot,
        _destination(turn),
        turn.now,
        asked_in=None if turn.place.private else turn.place,
        wish=wish.text,
        adapter_id=adapter.id,
    )
    turn.change(
        shoots=(*state.shoots, shoot),
        shoots_started=number,
        recent=(*turn.of_today(state.recent), turn.now),
        last_style=wish.style,
        adapter=replace(adapter, used_at=turn.now),
    )
    prompt = turn.styles.prompt(wish)
    turn.do(StartShoot(shoot.id, adapter.id, wish.style, prompt, shoot.count, shoot.place, wish.seed))
    show_card(turn, shoot, wish, asked)
    if shoot.place != turn.place:
        _say_where(turn)


def _destination(turn: Turn) -> Place:
    """Where the headshots go: here if allowed, else the private chat, else here behind a button."""
    if turn.place.private or groups.is_open(turn, turn.place) or not turn.state.home:
        return turn.place
    return turn.state.home


def _say_where(turn: Turn) -> None:
    """Asked in a group, answered in private: say so there, and offer to show them there next time."""
    chat_id = turn.place.chat_id
    if turn.incoming.can_whisper:
        turn.tell(turn.place, "notice_headshots", [[button("allow_group", chat_id)]])
    else:
        turn.notice("notice_headshots", groups.PAYLOAD + chat_id)
