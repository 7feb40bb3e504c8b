"""The person of the demo: types, presses, sends photos, and waits like somebody who reads the screen.

It sees what a person sees and nothing else: messages, buttons and pictures.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bot.config import Settings
from bot.conversation.commands import COMMANDS
from bot.errors import OperatorError
from bot.platforms.base import Outgoing
from bot.platforms.keyboard import ScriptedKeyboard
from bot.platforms.screen import Screen
from bot.platforms.terminal import TerminalPlatform

STYLES = ("linkedin style", "outdoor, smile")
SECOND_STYLE_BEFORE_SECONDS = 240.0  # a slow machine makes do with one style
ANSWER_SECONDS, VERDICTS_SECONDS, TRAINING_SECONDS, SHOOT_SECONDS = 60.0, 180.0, 1800.0, 600.0
SETTLED_SECONDS = 2.0  # a card that has not changed for so long is taken as final
LOOKING = "⏳"  # stands on the selfies' card as long as one of them is looked at


class DemoFailed(OperatorError):
    """The journey did not get to its end; the sentence says where."""


@dataclass
class Shown:
    """What the person has seen so far."""

    items: list[Outgoing] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    at: float = 0.0

    def add(self, item: Outgoing, pictures: Sequence[Path]) -> None:
        """Something new or redrawn is on the screen; its pictures lie in those files."""
        self.items.append(item)
        self.pictures += pictures
        self.at = time.monotonic()
        self.changed.set()

    async def until(self, wanted: Callable[[], bool], seconds: float, failure: str) -> None:
        """Watch until `wanted` holds. Raises DemoFailed(failure) after that many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while not wanted():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise DemoFailed(failure) from None

    async def settled(self) -> None:
        """Watch until nothing has changed for a while."""
        while (left := self.at + SETTLED_SECONDS - time.monotonic()) > 0:  # noqa: ASYNC110  it moves on
            await asyncio.sleep(left)


class Script:
    """The person. Keeps the seconds that each stage took, as the person waits for it."""

    def __init__(self, settings: Settings, selfies: Path, out_dir: Path, screen: Screen) -> None:
        self.keyboard, self.shown = ScriptedKeyboard(), Shown()
        self.platform = TerminalPlatform(
            self.keyboard, screen, out_dir, [command.name for command in COMMANDS], self.shown.add
        )
        self._screen, self._selfies, self._count = screen, selfies, settings.rules.headshots_per_shoot
        self.stages: dict[str, float] = {}
        self.shoots: dict[str, list[Path]] = {}  # style -> its pictures
        self._started = time.monotonic()

    async def play(self) -> None:
        """The whole journey. Raises DemoFailed."""
        with self._stage("start and consent"):
            self.keyboard.type("/start")
            await self._press("consent_yes", ANSWER_SECONDS, "The bot did not ask for consent")
            asked = len(self.shown.items)
            await self.shown.until(
                lambda: len(self.shown.items) > asked, ANSWER_SECONDS, "Nothing followed the consent"
            )
        with self._stage("selfies and verdicts"):
            await self._send_selfies()
        with self._stage("training"):
            await self._train()
        for style in STYLES:
            if self.shoots and time.monotonic() - self._started > SECOND_STYLE_BEFORE_SECONDS:
                break
            with self._stage(f"headshots: {style}"):
                await self._shoot(style)
        self.keyboard.leave()

    async def _send_selfies(self) -> None:
        before = len(self.shown.items)
        self.keyboard.type(f"'{self._selfies.absolute()}'")

        def judged() -> bool:
            cards = [item for item in self.shown.items[before:] if "upload" in self._actions([item])]
            return bool(cards) and LOOKING not in cards[-1].text

        await self.shown.until(judged, VERDICTS_SECONDS, "The verdicts on the photos did not come")
        await self.shown.settled()
        if "train" not in self._actions(self.shown.items[before:]):
            raise DemoFailed("Too few of the photos can be used for a training; the verdicts above say why")

    async def _train(self) -> None:
        before = len(self.shown.items)
        await self._press("train", ANSWER_SECONDS, "There was no button to train")

        def messages() -> list[Outgoing]:
            return [item for item in self.shown.items[before:] if item.edit is None]

        def over() -> bool:
            actions = self._actions(messages())
            return "style" in actions or "train" in actions  # ready, or offered once more after a failure

        await self.shown.until(over, TRAINING_SECONDS, "The training took too long")
        if "style" not in self._actions(messages()):
            raise DemoFailed("The training failed; the message above says why")

    async def _shoot(self, style: str) -> None:
        first, before = len(self.shown.pictures), len(self.shown.items)
        self.keyboard.type(f"/headshot {style}")

        def told() -> bool:
            complete = len(self.shown.pictures) >= first + self._count
            return complete and "originals" in self._actions(self.shown.items[before:])

        await self.shown.until(told, SHOOT_SECONDS, f"The headshots in {style} did not come")
        self.shoots[style] = self.shown.pictures[first:]

    async def _press(self, action: str, seconds: float, failure: str) -> None:
        await self.shown.until(lambda: self._button(action) is not None, seconds, failure)
        self.keyboard.type(str(self._button(action)))

    def _arguments(self, action: str) -> set[str]:
        """What the buttons of this action were about, so far."""
        buttons = (button for item in self.shown.items for row in item.buttons for button in row)
        return {button.argument for button in buttons if button.action == action}

    def _button(self, action: str) -> int | None:
        for item in reversed(self.shown.items):
            for button in (button for row in item.buttons for button in row):
                if button.action == action:
                    return self.platform.number(action, button.argument)
        return None

    @staticmethod
    def _actions(items: list[Outgoing]) -> set[str]:
        return {button.action for item in items for row in item.buttons for button in row}

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.stages[name] = round(time.monotonic() - begun, 1)
        self._screen.note(f"   ({name}: {self.stages[name]:.1f} s)")
