"""What people must know of their data: the consent card, the policy, what is stored, the receipt."""

from collections.abc import Mapping
from typing import Any

from bot.texts.quoting import day, hours, lines, plural

Values = Mapping[str, Any]


def consent(values: Values) -> str:
    """Four short promises, two conditions, one question."""
    return lines(
        {
            "start": "Hello. I make professional headshots of you, from your own selfies.",
            "photos": "Thank you, but I keep no photo before I have your permission.",
            "command": "Before anything else I need your permission.",
            "changed": "What I promise has changed, so I ask you once more.",
            "agreed": "You agreed ✓",
        }[values["why"]],
        "",
        "• What: I measure the face in your selfies and train a small model on it, for you alone.",
        "• Where: on the computer of this studio and nowhere else. This chat keeps its own copies.",
        f"• How long: selfies are deleted {_after_training(values['hours'])}, the model after "
        f"{plural(values['days'], 'day')} without use.",
        "• Taking it back: /deleteme deletes everything, at any time. More: /privacy",
        "",
        "You must be 18 or older and send only photos of yourself."
        + (" Headshots are marked as AI-made." if values["marked"] else ""),
        *(["", "Do you agree?"] if values["why"] != "agreed" else []),
    )


def consent_no(values: Values) -> str:
    """The answer to a no; who had agreed to earlier promises still has something here."""
    if values["kept"]:
        return "That is fine. To agree later, write /start. To delete what I have of you, write /deleteme."
    return "That is fine. I keep nothing of yours. If you change your mind, write /start."


def privacy(values: Values) -> str:
    """The policy, in plain words."""
    contact = values["contact"] or "ask whoever runs this studio"
    return lines(
        "Privacy, in plain words",
        "• Kept: your selfies, model and headshots, your account's id and name, and what you agreed to.",
        "• Measured: to see that all photos show one person, I measure the face in each. Such a "
        "measurement is a biometric template: it is encrypted, goes to nobody, and is deleted with the "
        "selfie. Your model keeps the average of these, and the measurements of headshots of which you said "
        "'Not me' or 'More like this'; they are deleted with the model.",
        "• Used: only to make headshots for you. Nobody else can use your model.",
        f"• Where: on the computer of this studio, encrypted. Base model: {values['base']}.",
        f"• Deleted: selfies {_after_training(values['hours'])}; headshots here "
        f"{hours(values['headshot_hours'])} after they were sent; the model after "
        f"{plural(values['days'], 'day')} without use.",
        "• Chat copies: the chat service also keeps what you send and get. Delete messages there.",
        "• Marked: every headshot carries a mark that says it is AI-made." if values["marked"] else None,
        "• Yours to decide: /mydata shows and sends all of it. /deleteme deletes all of it and takes back "
        "your permission. Only a note that you agreed and took it back stays, without your name.",
        f"Questions: {contact}",
    )


def mydata(values: Values) -> str:
    """What is stored of a person."""
    agreed = f"you agreed on {day(values['consent_at'])}" if values["consent_at"] else "you have not agreed"
    trained = (
        f"1, trained on {day(values['trained_at'])} from {plural(values['trained_from'], 'selfie')}"
        if values["trained_at"]
        else "none"
    )
    return lines(
        "What is stored about you",
        f"• Account: {values['platform']}, {values['name']}",
        f"• Permission: {agreed}",
        f"• Selfies: {_selfies(values['selfies'])}",
        f"• Model: {trained}",
        f"• Headshots still here: {values['headshots']}",
        f"• In the making: {values['in_flight']}" if values["in_flight"] else None,
        f"• Groups where your headshots are shown: {values['groups']}" if values["groups"] else None,
    )


def delete_confirm(values: Values) -> str:
    """The question before everything is deleted."""
    running = "What is being made now will be stopped. " if values["in_flight"] else ""
    return (
        "Delete everything? Your selfies, your model, your headshots and all I remember of you will be gone "
        f"for good. {running}It cannot be undone."
    )


def deleted(values: Values) -> str:
    """The receipt."""
    return lines(
        f"Deleted on {day(values['at'])}:",
        f"• {plural(values['selfies'], 'selfie')}, with every measurement",
        f"• {plural(values['models'], 'model')}",
        f"• {plural(values['headshots'], 'headshot')}",
        f"• {values['in_flight']} in the making, stopped" if values["in_flight"] else None,
        "• your settings and your permission",
        "",
        "The messages in this chat are not mine to delete: please clear the chat yourself. "
        "Should you come back one day, write /start.",
    )


def _selfies(count: int) -> str:
    return f"{count}, and a measurement of the face in {'it' if count == 1 else 'each'}" if count else "none"


def _after_training(count: int) -> str:
    return f"{hours(count)} after a training" if count else "right after a training"
