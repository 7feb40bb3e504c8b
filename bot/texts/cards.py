"""Messages made of parts that come and go: cards, lists, where somebody stands. Values in, text out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bot.texts.privacy import consent, consent_no, delete_confirm, deleted, mydata, privacy
from bot.texts.problems import (
    ADVICE,
    LACKING,
    LIKENESS,
    SHOOT_FAILURES,
    TRAINING_FAILURES,
    UNKNOWN_SHOOT_FAILURE,
    UNKNOWN_TRAINING_FAILURE,
)
from bot.texts.quoting import day, duration, hours, lines, listing, plural, quote
from bot.texts.selfies import intake

Values = Mapping[str, Any]
BAR_CELLS = 12
_UNCOUNTED = "This try does not count towards today's limit."

MESSAGE_PHOTO = "discord_message_photo"
OTHER_THINGS = {
    "pdf": "a PDF",
    "video": "a video",
    "video_note": "a video",
    "animation": "an animation",
    "sticker": "a sticker",
    "voice": "a voice message",
    "audio": "a sound file",
    "contact": "a contact",
    "location": "a place on the map",
    "venue": "a place on the map",
    "poll": "a poll",
}
GROUP_TITLES = {"studio": "Studio", "work": "Work places", "professions": "Professions", "outside": "Outside"}


def step(values: Values) -> str:
    """Where a person stands and what comes next."""
    good, least = values["good"], values["min"]
    if values["stage"] == "stranger":
        return "To begin, write /start."
    if values["stage"] == "training":
        return f"Your model is being trained: {progress(values)}. I will write when it is ready."
    if values["stage"] == "ready":
        return "Your model is ready. For headshots, tap a style, or write /headshot and its name."
    if good >= least:
        return f"You have {plural(good, 'good selfie')}: enough to train your model."
    count, more = (plural(good, "good selfie"), " more") if good else ("no good selfies", "")
    looking = f", and I am looking at {values['pending']}{more}" if values["pending"] else ""
    have = f"You have {count} so far{looking}." if good or looking else ""
    missing = plural(least - good, "more good selfie" if good else "good selfie")
    return f"{have} To train your model I need at least {missing}; {values['wanted']} is best.".strip()


def hint(values: Values) -> str:
    """The answer to plain words."""
    return lines(f"I am not much of a talker. {step(values)}", "/help lists what I can do.")


def next_step(values: Values) -> str:
    """Only where a person stands; `lead` is known by key."""
    leads = {
        "agreed": "You agreed already. To take it back, write /deleteme.",
        "headshot": "For headshots I need a model of you first.",
        "train": "Not quite yet.",
        "upload": "Send me the selfies right here, as photos or as files, as many as you like at once.",
        "back": "Hello again.",
    }
    return lines(leads[values["lead"]], step(values))


def other_sent(values: Values) -> str:
    """Something that is no photo, or a photo that came in a way in which I may not take it."""
    if values["what"] == MESSAGE_PHOTO:
        return lines(
            "Thank you, but I may not take photos out of messages here, and I did not keep this one.",
            "Please use /selfies or the button below: then only this studio gets them."
            if values["stage"] != "stranger"
            else step(values),
        )
    thing = OTHER_THINGS.get(values["what"], "a file")
    return f"That is {thing}, and I can only use photos: JPEG, PNG, WebP, HEIC or AVIF. {step(values)}"


def progress(values: Values) -> str:
    """`43 %, about 6 minutes left`, in words that fit the stage."""
    if values["training_stage"] == "queued":
        ahead = values["ahead"]
        return f"waiting, {plural(ahead, 'training')} before yours" if ahead else "next in line"
    if values["training_stage"] == "preparing":
        return "getting your selfies ready"
    left = values["eta_seconds"]
    return f"{_percent(values)} %" + (f", {duration(left)} left" if left is not None else "")


def training(values: Values) -> str:
    """The training card."""
    filled = round(BAR_CELLS * _percent(values) / 100)
    kept = "The model that you have stays in use until then." if values["retraining"] else ""
    return lines(
        f"Training your model from {plural(values['selfies'], 'selfie')}",
        f"{'▓' * filled}{'░' * (BAR_CELLS - filled)} {_percent(values)} %",
        progress(values).capitalize() if values["training_stage"] != "training" else None,
        f"{duration(values['eta_seconds']).capitalize()} left"
        if values["eta_seconds"] is not None and values["training_stage"] == "training"
        else None,
        f"You can close the chat: I will write when it is ready. {kept}".strip(),
    )


def training_over(values: Values) -> str:
    """What stays of the training card."""
    return {
        "done": "The training is done ✓",
        "cancelled": "The training was stopped.",
        "failed": "The training ended early.",
    }[values["how"]]


def training_runs(values: Values) -> str:
    """A second training was asked for."""
    return f"One training at a time. Yours is running: {progress(values)}. I will write when it is ready."


def training_limit(values: Values) -> str:
    """No more trainings today."""
    return f"You have used up today's trainings. The next one can start in {duration(values['seconds'])}."


def training_finished(values: Values) -> str:
    """The news that everybody waits for."""
    took = f" It took {duration(values['seconds'])}." if values["seconds"] else ""
    return lines(
        f"Your model is ready.{took} {LIKENESS.get(values['likeness'], '')}".strip(),
        _advice(values["advice"]),
        f"Your selfies will be deleted in {hours(values['hours'])}."
        if values["hours"]
        else "Your selfies are being deleted.",
        "",
        "Tap a style, or write for example: /headshot linkedin style",
    )


def _advice(codes: Sequence[str]) -> str | None:
    """Which further selfies would help: a sentence, or a line for each."""
    known = [ADVICE[code] for code in codes if code in ADVICE]
    if not known:
        return None
    if len(known) == 1:
        return f"To make it better, send {known[0]}. Then train again."
    return lines("To make it better, send", *(f"• {each}" for each in known), "Then train again.")


def training_failed(values: Values) -> str:
    """Why, and that nothing is lost."""
    why = TRAINING_FAILURES.get(values["reason"], UNKNOWN_TRAINING_FAILURE)
    kept = " The model that you had is still there too." if values["retraining"] else ""
    return f"The training did not work out. {why} Your selfies are still here.{kept} {_UNCOUNTED}"


def shoot(values: Values) -> str:
    """The card of headshots in the making, with what was left out of the wish."""
    return lines(
        f"Making {plural(values['count'], 'headshot')}: {values['wish']}",
        f"I make at most {values['most']} at once." if values["most"] else None,
        _left_out(values["unknown"]),
    )


def _left_out(unknown: Sequence[str]) -> str | None:
    """What was not understood of a wish."""
    if not unknown:
        return None
    words = listing([quote(word, 24) for word in unknown[:6]])
    return f"I did not understand {words}; I left {'it' if len(unknown) == 1 else 'them'} out."


def shoot_over(values: Values) -> str:
    """What stays of a headshot card."""
    how = {"done": "ready ✓", "cancelled": "stopped", "failed": "not made"}[values["how"]]
    return f"{values['wish']}: {how}"


def shoot_done(values: Values) -> str:
    """Below the headshots: what could not be reached, and how hard it was tried."""
    short = values["count"] - values["reached"] if values["tried"] else 0
    lacks = [LACKING[code] for code in values["lacking"] if code in LACKING]
    parts = [
        f"{_best(values)} {_fall_short(short, values['count'], lacks)}." if short and lacks else None,
        "I left out what is not fit to be shown." if "unsafe" in values["lacking"] else None,
    ]
    if not any(parts):
        return f"Here you are: {values['wish']}. What next?"
    return lines(f"Here you are: {values['wish']}.", *parts, "", "What next?")


def _best(values: Values) -> str:
    """`The best 4 of 12;`"""
    count, tried = values["count"], values["tried"]
    return f"The best of {tried};" if count == 1 else f"The best {count} of {tried};"


def _fall_short(short: int, count: int, lacks: Sequence[tuple[str, str, str]]) -> str:
    """What so many of the headshots lack. Of several flaws nobody knows which headshot has which."""
    if short == 1:
        return f"{'it' if count == 1 else '1 of them'} {listing([one for one, _, _ in lacks])}"
    if len(lacks) == 1:
        _, several, every = lacks[0]
        return every if short == count else f"{short} of them {several}"
    who = "none is" if short == count else f"{short} of them are not"
    return f"{who} quite right: {listing([f'some {several}' for _, several, _ in lacks])}"


def shoot_failed(values: Values) -> str:
    """Why there are no headshots."""
    why = SHOOT_FAILURES.get(values["reason"], UNKNOWN_SHOOT_FAILURE)
    return f"I could not make these headshots: {values['wish']}. {why} {_UNCOUNTED}"


def shoot_limit(values: Values) -> str:
    """No more headshots today."""
    return f"You have used up today's headshots. The next ones can start in {duration(values['seconds'])}."


def styles(values: Values) -> str:
    """A part of the catalogue, by group."""
    blocks = [
        "\n".join([GROUP_TITLES[group], *(f"• {label}: {what}" for label, what in entries)])
        for group, entries in values["groups"]
    ]
    tail = (
        "Add what you like: no tie, navy suit, office background, smile, serious, glasses, close up, 6"
        if values["last"]
        else None
    )
    return "\n\n".join([*blocks, *([tail] if tail else [])])


def status(values: Values) -> str:
    """Everything in flight and everything that is there."""
    shoots = [f"• Making {plural(count, 'headshot')}: {wish}" for count, wish in values["shoots"]]
    waiting = f", {values['pending']} being looked at" if values["pending"] else ""
    return lines(
        "Where you stand",
        f"• Selfies: {values['good']} good of {values['wanted']}{waiting}",
        f"• Training: {progress(values)}" if values["training_stage"] else None,
        f"• Model: trained on {day(values['trained_at'])}" if values["trained_at"] else "• Model: none yet",
        *shoots,
        f"• Left today: {plural(values['shoots_left'], 'set')} of headshots, "
        f"{plural(values['trainings_left'], 'training')}",
        f"• Groups where your headshots are shown: {values['groups']}" if values["groups"] else None,
        "",
        step(values) if values["stage"] != "training" else None,
    )


def help_text(values: Values) -> str:
    """What there is, and where the person stands."""
    return lines(
        "I make professional headshots of you: send selfies, train your model once, then ask for any style.",
        "",
        *(f"/{name} {argument}".strip() + f": {what}" for name, argument, what in values["commands"]),
        "",
        step(values),
    )


def _percent(values: Values) -> int:
    return min(99, int(100 * values["fraction"])) if values["training_stage"] == "training" else 0


CARDS: dict[str, Callable[[Values], str]] = {
    "consent": consent,
    "consent_no": consent_no,
    "deleted": deleted,
    "delete_confirm": delete_confirm,
    "help": help_text,
    "hint": hint,
    "intake": intake,
    "mydata": mydata,
    "next": next_step,
    "other_sent": other_sent,
    "privacy": privacy,
    "shoot": shoot,
    "shoot_done": shoot_done,
    "shoot_failed": shoot_failed,
    "shoot_limit": shoot_limit,
    "shoot_over": shoot_over,
    "status": status,
    "styles": styles,
    "training": training,
    "training_failed": training_failed,
    "training_finished": training_finished,
    "training_limit": training_limit,
    "training_over": training_over,
    "training_runs": training_runs,
}
