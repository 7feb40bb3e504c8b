"""The whole journey as a chat that a person can read: `journey.txt`.

After a change of words on purpose: JOURNEY=write python -m pytest tests/bot/conversation/test_journey.py
"""

import os
from pathlib import Path

from bot.conversation.types import (
    Choice,
    Command,
    Event,
    OtherSent,
    PhotosSent,
    Place,
    Say,
    SendExport,
    ShootFailed,
    ShowHeadshots,
    Started,
    Text,
    TrainingFailed,
    TrainingFinished,
    TrainingProgressed,
    Verdict,
)
from bot.texts import render
from tests.bot.conversation.chat import GROUP, Chat

GOLDEN = Path(__file__).with_name("journey.txt")


class Transcript(Chat):
    """Writes down what both sides say. Cards are shown each time they change."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.lines: list[str] = []

    def happens(self, event: Event, place: Place | None = None) -> "Chat":
        super().happens(event, place)
        where = f" (in the group {place.title})" if place and not place.private else ""
        self.lines.append(f"\n> {spoken(event)}{where}" if spoken(event) else "\n(from the studio)")
        for effect in self.effects:
            self.lines += [f"    {line}".rstrip() for line in shown(effect)]
        return self

    def chapter(self, title: str) -> None:
        self.lines.append(f"\n\n=== {title} ===")


def spoken(event: Event) -> str:
    match event:
        case Started(payload):
            return f"/start {payload}".strip()
        case Command(name, argument):
            return f"/{name} {argument}".strip()
        case Choice(action, argument):
            plain = argument if not argument.startswith(("a", "s")) or len(argument) != 17 else ""
            return f"[presses {action} {plain}".strip() + "]"
        case Text(text):
            return text
        case PhotosSent(photos):
            return f"[sends {len(photos)} photos]" if len(photos) > 1 else "[sends a photo]"
        case OtherSent(what):
            return f"[sends: {what}]"
    return ""


def shown(effect: object) -> list[str]:
    match effect:
        case Say():
            text = render(effect.key, effect.values).splitlines()
            rows = ["  ".join(f"[{button.label}]" for button in row) for row in effect.buttons]
            first = ("" if effect.to.private else "(in the group) ") + ("(card) " if effect.card else "")
            return [f"{first}{text[0]}", *text[1:], *rows]
        case ShowHeadshots():
            kind = "files" if effect.as_files else "pictures"
            return [f"({len(effect.headshot_ids)} {kind}{'' if effect.to.private else ' in the group'})"]
        case SendExport():
            return ["(a ZIP file)"]
    return []


def journey() -> str:
    chat = Transcript()
    chat.chapter("Coming in")
    chat.send(1).command("/headshot linkedin style").command("/start").press("consent_yes")
    chat.chapter("Selfies")
    chat.happens(OtherSent("pdf")).say("hello?")
    chat.send(*range(1, 16)).judge(Verdict.DOUBTFUL, "blurred", last=2).judge(
        Verdict.REFUSED, "several_faces", last=1
    )
    chat.judge(Verdict.REFUSED, "no_face", last=1).judge(last=6).command("/headshot linkedin")
    chat.press("train").judge().press("use_anyway", 14).send(3)
    chat.send(77, place=GROUP)
    chat.chapter("Training")
    chat.press("train")
    adapter = chat.adapter_id
    chat.happens(TrainingProgressed(adapter, "queued", ahead=2)).happens(
        TrainingProgressed(adapter, "preparing")
    )
    chat.happens(TrainingProgressed(adapter, "training", 0.43, 380.0)).press("train").command(
        "/headshot office"
    )
    chat.happens(TrainingFailed(adapter, "out_of_memory")).press("train")
    chat.happens(TrainingFinished(chat.adapter_id, 412.0, "good"))
    chat.chapter("Headshots")
    chat.command("/headshot linkedin style").shot().press("originals", chat.shoot_id)
    chat.command("/headshot corporate, no tie, smile, 20, with a dragon").shot().press("again", chat.shoot_id)
    chat.happens(ShootFailed(chat.shoot_id, "engine_failed"))
    chat.command("/headshot linkdin").command("/headshot naked").say("outdoor").command("/styles")
    chat.chapter("In a group")
    chat.command("/headshot outdoor", GROUP).shot().command("/start group_-100").press("allow_group", "-100")
    chat.command("/headshot outdoor", GROUP).shot()
    chat.chapter("Where do I stand")
    chat.command("/headshot cafe").command("/status").command("/cancel").command("/cancel").command("/help")
    chat.command("/hello")
    chat.chapter("Privacy")
    chat.command("/privacy").command("/mydata").press("export")
    chat.command("/deleteme").press("forget_no").command("/deleteme").press("forget_yes").say("hello?")
    return "\n".join(chat.lines).strip() + "\n"


def test_the_journey_reads_as_written_down() -> None:
    told = journey()
    if os.environ.get("JOURNEY") == "write":
        GOLDEN.write_text(told, encoding="utf-8")
    assert told == GOLDEN.read_text(encoding="utf-8")


def test_no_sentence_shouts_or_uses_markup() -> None:
    told = journey()
    assert "!" not in told
    assert "**" not in told
    assert "`" not in told
    assert "{" not in told
