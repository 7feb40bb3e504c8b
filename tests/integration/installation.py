"""A whole Likeness in processes of its own, against the Bot API server of the tests.

Started with `likeness run`; looked at through its database; killed on purpose.
"""

import asyncio
import hashlib
import os
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psutil

from tests.servers.telegram_people import Message, Person, TelegramPeople
from tests.servers.telegram_server import TOKEN, running_server

SELFIES = Path(__file__).parents[2] / "bot" / "demo_selfies"
COUNT = 8
HEADSHOTS = 2
CONFIG = """
[bot]
data_dir = "{data_dir}"
[telegram]
api_url = "{url}"
[queue]
sweep_seconds = 1
stale_seconds = 6
[rules]
min_selfies = {count}
wanted_selfies = {count}
headshots_per_shoot = {headshots}
[engine]
base = "{base}"
licence_confirmed = true
device = "cpu"
preset = "fast"
threads = 1
"""
# How the parts are told apart from outside: by the first words of their command lines.
PARTS = {
    "bot": (["-m", "bot", "bot"],),
    "worker": (["-m", "worker"], ["-m", "bot", "worker"]),
    "engine": (["-m", "engine"],),
}


def selfies() -> list[bytes]:
    return [path.read_bytes() for path in sorted(SELFIES.glob("*.jpg"))[:COUNT]]


class Installation:
    """One running `likeness run`."""

    def __init__(self, folder: Path, url: str, base: str = "tiny") -> None:
        self.folder, self.data_dir = folder, folder / "data"
        self.config = folder / "config.toml"
        self.config.write_text(
            CONFIG.format(data_dir=self.data_dir, url=url, count=COUNT, headshots=HEADSHOTS, base=base)
        )
        self.log = folder / "run.log"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot", "run", "--config", str(self.config)),
                stdout=log,
                stderr=log,
                env={**os.environ, "TELEGRAM_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"},
            )

    async def stop(self) -> int:
        """Stop it as an operator does; the exit status. Nothing may be left behind."""
        assert self.process
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGTERM)
        status = await asyncio.wait_for(self.process.wait(), 40)
        _, alive = psutil.wait_procs(family, timeout=5)
        for process in alive:
            process.kill()
        assert alive == [], f"left behind: {alive}"
        return status

    def pid(self, name: str) -> int | None:
        """The process of a part, if it lives."""
        assert self.process
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                words = process.cmdline()
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
            if _is(name, words):
                return process.pid
        return None

    async def kill_when(
        self,
        name: str,
        wanted: Callable[[], Any],
        what: str,
        look: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """kill -9 a part at the moment when something becomes true, without losing time to look for it.

        look: what to see of it before it is started again.
        """
        pid = await self.wait_for(lambda: self.pid(name), f"{name} to live")
        await self.wait_for(wanted, what)
        with self._unattended() if look else nullcontext():
            if not _killed(pid):  # it was started again meanwhile
                assert look is None, f"{name} died by itself:\n{self.tail()}"
                os.kill(await self.wait_for(lambda: self.pid(name), f"{name} to live"), signal.SIGKILL)
            if look:
                await look()

    @contextmanager
    def _unattended(self) -> Iterator[None]:
        """Nothing that dies is started again meanwhile."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    async def wait_for(self, wanted: Callable[[], Any], what: str, seconds: float = 90.0) -> Any:
        """Look very often until `wanted` gives something."""
        until = time.monotonic() + seconds
        while not (found := wanted()):
            assert self.process
            assert self.process.returncode is None, f"it ended by itself:\n{self.tail()}"
            assert time.monotonic() < until, f"waited in vain for {what}:\n{self.tail()}"
            await asyncio.sleep(0.005)
        return found

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-60:])

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What stands in the database right now."""
        path = self.data_dir / "likeness.db"
        if not path.exists():
            return []
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:  # before the first migration
            return []
        finally:
            connection.close()

    def count(self, table: str, condition: str) -> int:
        found = self.rows(f"SELECT count(*) FROM {table} WHERE {condition}")
        return int(found[0][0]) if found else 0

    async def unacknowledged(self, person: Person) -> list[Message]:
        """What the platform took from a killed bot and the database does not know of: the one window in which
        a kill repeats a message (docs/architecture.md), since Telegram has no key by which it would know it
        again. Nobody may have started the bot again yet.
        """
        await person.people.abandoned()
        known = {row[0] for row in self.rows("SELECT message FROM outbox")}
        pictures = self.count("outbox", "kind = 'headshot' AND sent_at IS NOT NULL")
        messages = await person.messages()
        shown = [message for message in messages if message.photo]
        return [
            *(message for message in messages if not message.photo and str(message.id) not in known),
            *shown[pictures:],
        ]

    def quiet(self) -> bool:
        """Everything that came in is handled, and everything promised is out."""
        return (
            self.count("inbox", "handled_at IS NULL") == 0
            and self.count("outbox", "state = 'pending'") == 0
            and self.count("job", "state IN ('queued', 'running')") == 0
            and self.count("photo", "status IN ('fetching', 'checking')") == 0
        )


@asynccontextmanager
async def running(
    folder: Path, base: str = "tiny"
) -> AsyncIterator[tuple[Installation, TelegramPeople, Person]]:
    """An installation, its Telegram, and a person on it."""
    async with running_server() as server, TelegramPeople(server.url) as people:
        installation = Installation(folder, server.url, base)
        await installation.start()
        try:
            yield installation, people, await people.person()
        finally:
            status = await installation.stop() if installation.process.returncode is None else None
        assert status == 0, installation.tail()


async def pictures(people: TelegramPeople, person: Person) -> Counter[str]:
    """The pictures that the person got, by their bytes, with how often each came."""
    found = [message.photo or message.document for message in await person.messages()]
    data = [await people.file(each) for each in found if each]
    return Counter(hashlib.sha256(each).hexdigest() for each in data)


def repeated(messages: list[Message]) -> dict[str, int]:
    """Sentences that came more than once."""
    counts = Counter(message.text for message in messages if message.text and not message.photo)
    return {text: count for text, count in counts.items() if count > 1}


def has_button(action: str) -> Callable[[Message], bool]:
    return lambda message: any(button.data.startswith(f"v1:{action}:") for button in message.buttons)


def _killed(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _is(name: str, words: list[str]) -> bool:
    if name == "redis":  # it writes its address behind its name
        return bool(words) and Path(words[0].split()[0]).name == "valkey-server"
    return any(words[1 : 1 + len(start)] == start for start in PARTS[name])
