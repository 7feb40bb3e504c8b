"""A worker's process: its engine, its workshop and its arq workers, opened and closed together."""

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from bot import log, queueing
from bot.config import Settings, load
from bot.errors import OperatorError
from bot.queueing import WakeUps
from bot.store.database import Database
from bot.supervision import OPERATOR_EXIT, stop_on_signals
from bot.workshop import Tool, Workshop


class Engine(Protocol):
    """What the tool works with."""

    def start(self) -> None:
        """Begin to keep it alive."""

    async def close(self) -> None:
        """Stop it; what it has in hand ends soon and without a result."""


class Service:
    """One worker. `together`: how many jobs of each kind it has in hand at once."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        tool: Tool,
        engine: Engine,
        together: Mapping[str, int],
    ) -> None:
        self._settings, self._database, self._tool, self._engine = settings, database, tool, engine
        self._together, self._wake = together, WakeUps(settings.redis_dsn)
        self._workshop = Workshop(database, self._wake, tool, settings.queue)
        self._loops: list[asyncio.Task[None]] = []

    def options(self, kind: str) -> dict[str, Any]:
        """How arq serves jobs of this kind."""
        dsn, together = self._settings.redis_dsn, self._together[kind]
        return queueing.arq_options(dsn, kind, self._workshop.do, together=together)

    @property
    def kinds(self) -> Sequence[str]:
        """Of the jobs that it does."""
        return tuple(self._together)

    async def open(self, kinds: Sequence[str]) -> None:
        """Start the engine, and take jobs of these kinds. Raises ServiceUnavailable."""
        await asyncio.to_thread(self._database.migrate)
        self._engine.start()
        loops = [self._workshop.tend(), self._workshop.listen(), *(self._serve(kind) for kind in kinds)]
        self._loops = [asyncio.create_task(loop) for loop in loops]

    async def _serve(self, kind: str) -> None:
        if await self._tool.ready():  # until then others hear of the work
            await queueing.serve(self.options(kind))

    async def failed(self) -> None:
        """Wait until something ends that should not, and raise what ended it."""
        done, _ = await asyncio.wait(self._loops, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def close(self) -> None:
        """Stop the engine after its checkpoints, put back what is in hand, disconnect."""
        self._workshop.closing()
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, self._engine.close(), return_exceptions=True)
        await self._workshop.close()
        await self._wake.close()
        await asyncio.to_thread(self._database.close)


async def serve(service: Service) -> None:
    """Work until SIGTERM or SIGINT. Raises OperatorError."""
    stop = asyncio.Event()
    stop_on_signals(stop)
    try:
        await service.open(service.kinds)
        ending = [asyncio.create_task(stop.wait()), asyncio.create_task(service.failed())]
        done, rest = await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        for task in done:
            task.result()
    finally:
        await service.close()


def run(make: Callable[[Settings], Service]) -> None:
    """The whole life of a worker's process; exit status 2 where only the operator can help."""
    log.setup("worker", "INFO")
    try:
        settings = load()
        secrets = [value.get_secret_value() for value in settings.secrets.values()]
        log.setup("worker", settings.bot.log_level, secrets)
        asyncio.run(serve(make(settings)))
    except OperatorError as error:
        logging.getLogger(__name__).critical(str(error))
        sys.exit(OPERATOR_EXIT)


def arq_settings(service: Service) -> type:
    """For the `arq` command: its own worker serves the first kind, the others are served beside it."""

    async def on_startup(_: Mapping[str, Any]) -> None:
        await service.open(service.kinds[1:])

    async def on_shutdown(_: Mapping[str, Any]) -> None:
        await service.close()

    values = {**service.options(service.kinds[0]), "on_startup": on_startup, "on_shutdown": on_shutdown}
    return type("WorkerSettings", (), values)
