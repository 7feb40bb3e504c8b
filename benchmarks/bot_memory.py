"""Memory of the chat process: right after its start, and after 200 people talked and sent photos to it.

    python -m benchmarks.bot_memory

Telegram over real HTTP against the tests' Bot API server, Discord over a real websocket (connected, nobody
talks there); no worker runs, so photos are fetched, encrypted
and left waiting. Goal: under 200 MiB of resident memory.
"""

import asyncio
import os
import platform
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.conversation_latency import PEOPLE, bot_process
from bot.texts import CONSENT_VERSION
from tests.servers.discord_people import DiscordPeople
from tests.servers.discord_server import DiscordServer, running_server
from tests.servers.telegram_server import TelegramServer

PHOTOS_EACH = 5
AGREE = f"v1:consent_yes:{CONSENT_VERSION}"
ROOT = Path(__file__).parent
RESULTS = ROOT / "results" / "bot_memory.md"
SELFIES = sorted((ROOT.parent / "bot" / "demo_selfies").glob("*.jpg"))


async def main() -> None:
    """Measure and write the table."""
    server = TelegramServer()
    await server.start()
    people = [server.world.add_person(f"Person {n}", "en")["id"] for n in range(PEOPLE)]
    try:
        async with running_server() as discord, DiscordPeople(discord.url) as there:
            with tempfile.TemporaryDirectory() as folder:
                rows = await _measure(server, discord, there, people, Path(folder))
    finally:
        await server.close()
    table = ["| chat process | RSS MiB |", "|---|---|", *(f"| {name} | {mib:.0f} |" for name, mib in rows)]
    head = ["# Memory of the chat process", "", " ".join((__doc__ or "").split("\n\n", 2)[2].split()), ""]
    facts = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}."
    again = "Run again: `python -m benchmarks.bot_memory`."
    RESULTS.write_text("\n".join([*head, f"{facts} {again}", "", *table]) + "\n")
    print("\n".join(table))


async def _measure(
    server: TelegramServer, discord: DiscordServer, there: DiscordPeople, people: list[int], folder: Path
) -> list[tuple[str, float]]:
    async with bot_process(server, None, folder, discord) as process:
        await there.connected(30)
        rows = [("started, Telegram and Discord", _mib(process))]
        await _everybody_agrees(server, people)
        rows.append((f"{PEOPLE} people agreed", _mib(process)))
        await _everybody_sends(server, people)
        return [*rows, (f"and sent {PHOTOS_EACH} photos each", _mib(process))]


async def _everybody_agrees(server: TelegramServer, people: list[int]) -> None:
    for person in people:
        server.world.user_message(person, person, {"text": "/start"})
    for person in people:
        asked = await _sent(server, person, AGREE)
        server.world.press(person, person, asked, AGREE)
    await _quiet(server)


async def _everybody_sends(server: TelegramServer, people: list[int]) -> None:
    for number in range(PHOTOS_EACH):
        data = SELFIES[number].read_bytes()
        for person in people:
            # Each upload is another file to Telegram, though the picture is the same.
            photo = server.world.photo_sizes(data + b"%d" % person)
            server.world.user_message(person, person, {"photo": photo})
    await _quiet(server)


async def _sent(server: TelegramServer, person: int, data: str) -> int:
    while True:
        for message in server.world.messages.get(person, ()):
            if data in str(message.get("reply_markup")):
                return int(message["message_id"])
        await asyncio.sleep(0.05)


async def _quiet(server: TelegramServer, seconds: float = 5.0) -> None:
    """Until the bot has asked the server for nothing but updates for a while."""
    busy = time.time()
    while server.world.updates or time.time() - busy < seconds:
        others = [r["at"] for r in server.requests[-50:] if r["method"] != "getUpdates"]
        busy = max([busy, *others])
        await asyncio.sleep(0.1)


def _mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


if __name__ == "__main__":
    asyncio.run(main())
