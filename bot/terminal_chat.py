"""`likeness chat`: a person at the keyboard, everything else on this machine, data that stays."""

import asyncio
import sys
from pathlib import Path

from bot import log
from bot.config import Settings
from bot.conversation.commands import COMMANDS
from bot.platforms.keyboard import RealKeyboard
from bot.platforms.screen import Screen
from bot.platforms.terminal import TerminalPlatform
from bot.studio import serve_terminal
from bot.supervision import stop_on_signals

_HOW = (
    "This is the chat. Type /start to begin. Buttons have numbers: type the number.\n"
    "Photos: type the path of a photo, of several, or of a folder. Ctrl-D leaves; what you sent stays."
)


async def talk(settings: Settings, config: Path | None, out_dir: Path | None) -> int:
    """Chat until the person leaves; the exit status."""
    screen = Screen(sys.stdout, live=sys.stdout.isatty())
    platform = TerminalPlatform(
        RealKeyboard(),
        screen,
        out_dir or settings.bot.data_dir / "pictures",
        [command.name for command in COMMANDS],
    )
    stop = asyncio.Event()
    stop_on_signals(stop)
    screen.note(_HOW)
    with log.to_file("chat", settings):
        await serve_terminal(settings, config, platform, stop)
    return 0
