"""Everything on one machine: an embedded Redis, a worker with its engine, and the chat process.

`serve_chats` is `likeness run`: the chat process is a child too, and all are watched. `serve_terminal` keeps
the chat in this process, which has the keyboard; the demo and `likeness chat` are made of it.
"""

import asyncio
import sys
from pathlib import Path

from bot.application import Application, confirm_licence, confirm_tokens
from bot.config import Settings
from bot.embedded import claim, redis_child
from bot.platforms.base import Platform
from bot.supervision import Child, Supervisor

WORKER_STOP_SECONDS = 30.0  # a training writes its checkpoint first


async def serve_chats(settings: Settings, config: Path | None, stop: asyncio.Event) -> None:
    """Run Redis (unless one is configured), worker and bot until `stop` is set. Raises OperatorError."""
    confirm_licence(settings)
    confirm_tokens(settings)
    with claim(settings):
        bot = Child("bot", (sys.executable, "-m", "bot", "bot"), environ=_environ(config))
        await Supervisor([*_redis(settings), _worker(config), bot]).run(stop)


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
        children = [*_redis(settings), _worker(config, logs / "worker.log")]
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


def _worker(config: Path | None, output: Path | None = None) -> Child:
    return Child(
        "worker",
        (sys.executable, "-m", "bot", "worker"),
        environ=_environ(config),
        output=output,
        stop_seconds=WORKER_STOP_SECONDS,
    )


def _environ(config: Path | None) -> dict[str, str]:
    return {"LIKENESS_CONFIG": str(config.absolute())} if config else {}
