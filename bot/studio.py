"""Everything on one machine: an embedded Redis, a worker with its engine for each GPU, and the chat process.

`serve_chats` is `likeness run`: the chat process is a child too, and all are watched. `serve_terminal` keeps
the chat in this process, which has the keyboard, and one worker; the demo and `likeness chat` are made of it.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bot.application import Application, confirm_licence, confirm_tokens
from bot.config import Settings
from bot.devices import share_out
from bot.embedded import claim, redis_child
from bot.platforms.base import Platform
from bot.supervision import Child, Supervisor

WORKER_STOP_SECONDS = 30.0  # a training writes its checkpoint first


async def serve_chats(settings: Settings, config: Path | None, stop: asyncio.Event) -> None:
    """Run Redis (unless one is configured), workers and bot until `stop` is set. Raises OperatorError."""
    confirm_licence(settings)
    confirm_tokens(settings)
    with claim(settings):
        bot = Child("bot", (sys.executable, "-m", "bot", "bot"), environ=_environ(config))
        shares = await asyncio.to_thread(share_out, settings.engine.device)
        await Supervisor([*_redis(settings), *workers(shares, config), bot]).run(stop)


async def serve_terminal(
    settings: Settings, config: Path | None, platform: Platform, stop: asyncio.Event
) -> None:
    """Run Redis, a worker and one chat until `stop` is set or the chat ends. Raises OperatorError.

    What the children print goes to files in the data folder, so that the chat stays readable.
    """
    application = Application(settings, {platform.name: platform})
    with claim(settings):
        logs = settings.bot.data_dir / "logs"
        logs.mkdir(exist_ok=True)
        children = [*_redis(settings), *workers([{}], config, logs / "worker.log")]
        supervisor, halt = Supervisor(children), asyncio.Event()
        supervising = asyncio.create_task(supervisor.run(halt))
        started = asyncio.create_task(supervisor.started.wait())
        serving: asyncio.Task[None] | None = None
        try:
            await asyncio.wait({supervising, started}, return_when=asyncio.FIRST_COMPLETED)
            if started.done():
                serving = asyncio.create_task(application.run(stop))
                await asyncio.wait({supervising, serving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            started.cancel()
            stop.set()
            await asyncio.gather(*([serving] if serving else []), return_exceptions=True)
            halt.set()
            await asyncio.gather(supervising, return_exceptions=True)
        for task in (serving, supervising):
            if task:
                task.result()


def _redis(settings: Settings) -> list[Child]:
    return [] if settings.queue.redis_url else [redis_child(settings)]


def workers(
    shares: Sequence[Mapping[str, str]], config: Path | None, output: Path | None = None
) -> list[Child]:
    """A worker with its engine for each share of this machine's GPUs (`bot.devices.share_out`)."""
    return [
        Child(
            f"worker {number}" if len(shares) > 1 else "worker",
            (sys.executable, "-m", "worker"),
            environ={**_environ(config), **share},
            output=output,
            stop_seconds=WORKER_STOP_SECONDS,
        )
        for number, share in enumerate(shares, 1)
    ]


def _environ(config: Path | None) -> dict[str, str]:
    return {"LIKENESS_CONFIG": str(config.absolute())} if config else {}
