"""The person of the demo reads the screen: presses what is offered, waits for answers, notices failures."""

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from bot import demo_script, texts
from bot.config import Settings
from bot.conversation.types import Button, Choice, Command, PhotosSent, Started
from bot.demo_script import DemoFailed, Script
from bot.platforms.base import Attachment, Outgoing, RawUpdate
from bot.platforms.screen import Screen
from bot.platforms.terminal import PLACE

SETTINGS = Settings.model_validate({"rules": {"headshots_per_shoot": 2}})


class Bot:
    """Answers as the real one does, or fails where it is told to."""

    def __init__(
        self,
        script: Script,
        *,
        training_fails: bool = False,
        selfies_fail: bool = False,
        mute_after: type | None = None,
    ) -> None:
        self.script, self.training_fails, self.mute_after = script, training_fails, mute_after
        self.selfies_fail = selfies_fail
        self.heard: list[object] = []
        self._count = 0

    async def accept(self, update: RawUpdate) -> None:
        incoming = self.script.platform.translate(update.payload)
        assert incoming
        self.heard.append(incoming.event)
        if self.mute_after is not type(incoming.event):
            await self._answer(incoming.event)

    async def _answer(self, event: object) -> None:
        match event:
            case Started():
                await self._say("May I?", Button("Yes", "consent_yes"))
            case Choice("consent_yes"):
                await self._say("Send selfies.")
            case PhotosSent():
                await self._say("⏳ 1", Button("Send", "upload"))
                button = () if self.selfies_fail else (Button("Train", "train"),)
                await self._say("1 selfie", *button, Button("Send", "upload"))
            case Choice("train") if self.training_fails:
                await self._say("That did not work.", Button("Train", "train"))
            case Choice("train"):
                await self._say("Training 10 %")
                await self._say("Ready!", Button("LinkedIn", "style", "linkedin"))
            case Command("headshot", style):
                for number in range(2):
                    await self._say("", picture=Attachment(f"{style}-{number}.png", b"%d" % number))
                await self._say("Here you are", Button("Originals", "originals", style))

    async def _say(self, text: str, *buttons: Button, picture: Attachment | None = None) -> None:
        self._count += 1
        item = Outgoing(
            nonce=str(self._count),
            user_id="you",
            place=PLACE,
            text=text,
            buttons=(buttons,),
            attachments=(picture,) if picture else (),
        )
        await self.script.platform.send([item])


@pytest.fixture
def journey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Script, Bot]]:
    monkeypatch.setattr(demo_script, "SETTLED_SECONDS", 0.05)
    monkeypatch.setattr(demo_script, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(demo_script, "VERDICTS_SECONDS", 0.5)
    monkeypatch.setattr("bot.platforms.terminal._QUIET_SECONDS", 0.0)
    selfies = tmp_path / "selfies"
    selfies.mkdir()
    (selfies / "a.jpg").write_bytes(b"a")

    def make(**faults: object) -> tuple[Script, Bot]:
        script = Script(SETTINGS, selfies, tmp_path / "out", Screen(io.StringIO(), live=False))
        return script, Bot(script, **faults)  # type: ignore[arg-type]

    return make


async def play(script: Script, bot: Bot) -> None:
    receiving = asyncio.create_task(script.platform.receive(bot.accept))
    try:
        await script.play()
        await receiving
    finally:
        receiving.cancel()


async def test_the_whole_journey_is_played(journey: Callable[..., tuple[Script, Bot]]) -> None:
    script, bot = journey()
    await play(script, bot)
    assert [type(event).__name__ for event in bot.heard] == [
        *("Started", "Choice", "PhotosSent", "Choice", "Command", "Command")
    ]
    assert list(script.shoots) == list(demo_script.STYLES)
    assert all(path.is_file() for paths in script.shoots.values() for path in paths)
    assert len({path for paths in script.shoots.values() for path in paths}) == 4
    assert list(script.stages)[:3] == ["start and consent", "selfies and verdicts", "training"]


async def test_selfies_that_are_not_enough_are_noticed(journey: Callable[..., tuple[Script, Bot]]) -> None:
    with pytest.raises(DemoFailed, match="Too few of the photos"):
        await play(*journey(selfies_fail=True))


def test_the_card_is_marked_while_a_selfie_is_looked_at() -> None:
    values = {"min": 8, "wanted": 15, "max": 25, "max_mib": 20, "training": False}
    values |= {"extra": 0, "too_large": 0, "repeated": 0}
    for state, marked in (("pending", True), ("good", False), ("refused", False)):
        text = texts.render(
            "intake", {**values, "selfies": [[1, state, "blurry" if state == "refused" else ""]]}
        )
        assert (demo_script.LOOKING in text) is marked


async def test_a_failed_training_is_noticed(journey: Callable[..., tuple[Script, Bot]]) -> None:
    with pytest.raises(DemoFailed, match="training failed"):
        await play(*journey(training_fails=True))


@pytest.mark.parametrize(
    ("last", "sentence"),
    [(Started, "ask for consent"), (PhotosSent, "did not come")],
)
async def test_silence_is_said(journey: Callable[..., tuple[Script, Bot]], last: type, sentence: str) -> None:
    with pytest.raises(DemoFailed, match=sentence):
        await play(*journey(mute_after=last))
