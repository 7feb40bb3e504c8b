"""`likeness doctor`: what is in order, what is missing, and how to mend it, in plain words.

Looks and never repairs. What needs the engine's libraries is asked from the engine in a process of its own.
"""

import asyncio
import json
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bot import embedded
from bot.config import Settings, TelegramSettings, load
from bot.devices import share_out
from bot.errors import OperatorError
from bot.store.blobs import installation_secret, open_blobs
from bot.store.database import Database

_GIB = 1 << 30
_LEAST_FREE_GIB, _WANTED_FREE_GIB = 1, 10
_TELEGRAM_TOKEN = re.compile(r"\d{6,12}:[A-Za-z0-9_-]{30,50}")
_DISCORD_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{20,}")


class Verdict(StrEnum):
    """Of one thing that was looked at."""

    OK = "ok"
    NOTE = "note"  # works, but the operator should know
    MISSING = "missing"  # the service cannot run like this


@dataclass(frozen=True)
class Finding:
    """`remedy` is empty where nothing needs to be done."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        mark = {Verdict.OK: "OK     ", Verdict.NOTE: "NOTE   ", Verdict.MISSING: "MISSING"}[self.verdict]
        tail = f"\n        {'':24} -> {self.remedy}" if self.remedy else ""
        return f"{mark} {self.name:24} {self.detail}{tail}"


async def examine(path: Path | None) -> AsyncIterator[Finding]:
    """Everything worth knowing before a start, most basic first. Stops where the settings cannot be read."""
    try:
        settings = load(path)
    except OperatorError as error:
        yield Finding("settings", Verdict.MISSING, str(error), "See config.toml for every setting")
        return
    yield Finding("settings", Verdict.OK, "read")
    for finding in (*tokens(settings), licence(settings), *data_folder(settings), key(settings)):
        yield finding
    yield await redis(settings)
    yield await database(settings)
    if settings.store.blob_url:
        yield await bucket(settings)
    if len(shares := await asyncio.to_thread(share_out, settings.engine.device)) > 1:
        yield Finding("GPUs", Verdict.OK, f"{len(shares)}: each gets a worker of its own")
    async for finding in engine(settings):
        yield finding


def tokens(settings: Settings) -> Iterator[Finding]:
    """Tokens of the chats, and whether they look like ones."""
    found = False
    for name, shape, where in (
        ("TELEGRAM_TOKEN", _TELEGRAM_TOKEN, "Copy it again from @BotFather"),
        ("DISCORD_TOKEN", _DISCORD_TOKEN, "Copy it again from the Bot page of discord.com/developers"),
    ):
        token, title = settings.secret(name), name.replace("_", " ").capitalize()
        if not token:
            continue
        found = True
        if shape.fullmatch(token):
            yield Finding(title, Verdict.OK, "set")
        else:
            yield Finding(title, Verdict.MISSING, "set, but it does not look like one", where)
    if not found:
        remedy = "Put TELEGRAM_TOKEN=... or DISCORD_TOKEN=... into .env (the README says where to get one)"
        yield Finding("chat tokens", Verdict.MISSING, "there is none", remedy)
    if settings.secret("TELEGRAM_TOKEN") and settings.telegram.mode == "webhook":
        yield _webhook(settings)


def _webhook(settings: Settings) -> Finding:
    own_server = settings.telegram.api_url != TelegramSettings().api_url  # may call plain http
    if not settings.telegram.webhook_url.startswith(("https://", "http://") if own_server else "https://"):
        remedy = "Set [telegram] webhook_url to the public https address, or mode to polling"
        return Finding("Telegram webhook", Verdict.MISSING, "no https address", remedy)
    return Finding("Telegram webhook", Verdict.OK, settings.telegram.webhook_url)


def licence(settings: Settings) -> Finding:
    """Whether the operator confirmed the base model's licence."""
    if settings.engine.licence_needed:
        remedy = "Read the licence; if it covers your use, set [engine] licence_confirmed = true"
        return Finding(
            "base model's licence", Verdict.MISSING, f"{settings.engine.base}: unconfirmed", remedy
        )
    return Finding("base model's licence", Verdict.OK, settings.engine.base)


def data_folder(settings: Settings) -> Iterator[Finding]:
    """Whether there is a place to write, and room."""
    folder = settings.bot.data_dir.absolute()
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        probe = existing / ".likeness-probe"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        remedy = "Make it writable, or set another [bot] data_dir"
        yield Finding("data folder", Verdict.MISSING, f"{folder}: {error.strerror}", remedy)
        return
    yield Finding("data folder", Verdict.OK, str(folder))
    free_gib = shutil.disk_usage(existing).free / _GIB
    verdict = (
        Verdict.MISSING
        if free_gib < _LEAST_FREE_GIB
        else Verdict.NOTE
        if free_gib < _WANTED_FREE_GIB
        else Verdict.OK
    )
    remedy = "" if verdict is Verdict.OK else "Make room, or set [bot] data_dir to a larger disk"
    yield Finding("disk space", verdict, f"{free_gib:.1f} GiB free", remedy)


def key(settings: Settings) -> Finding:
    """Whether the photos' encryption key can be used, and where it lies."""
    own = settings.bot.data_dir / "key"
    if not settings.secret("LIKENESS_KEY") and not own.exists():
        return Finding("encryption key", Verdict.OK, "made at the first start, in the data folder")
    try:
        installation_secret(settings)
    except OperatorError as error:
        return Finding("encryption key", Verdict.MISSING, str(error))
    if settings.secret("LIKENESS_KEY"):
        return Finding("encryption key", Verdict.OK, "LIKENESS_KEY; keep a copy elsewhere")
    remedy = "Keep a copy elsewhere; LIKENESS_KEY in the environment keeps it apart from the data"
    return Finding("encryption key", Verdict.OK, str(own), remedy)


async def database(settings: Settings) -> Finding:
    """Whether the database answers, and whether its tables are those of this release."""
    made = settings.bot.data_dir / "likeness.db"
    if not settings.store.database_url and not made.exists():
        return Finding("database", Verdict.OK, "SQLite: made at the first start")
    opened = Database(settings.database_url)
    try:
        behind = await asyncio.to_thread(opened.behind)
    except OperatorError as error:
        return Finding("database", Verdict.MISSING, str(error))
    finally:
        opened.close()
    if behind:
        return Finding(
            "database", Verdict.NOTE, f"{opened.dialect}: the next start brings its tables up to date"
        )
    return Finding("database", Verdict.OK, opened.dialect)


async def bucket(settings: Settings) -> Finding:
    """Whether files can be written there, listed, read and deleted."""
    try:
        await asyncio.to_thread(open_blobs, settings)
    except OperatorError as error:
        return Finding("bucket", Verdict.MISSING, str(error))
    return Finding("bucket", Verdict.OK, settings.store.blob_url)


async def redis(settings: Settings) -> Finding:
    """Whether a Redis answers, or can be started."""
    if settings.queue.redis_url:
        if await embedded.answers(settings.redis_dsn):
            return Finding("Redis", Verdict.OK, "answers")
        remedy = "Start it, mend [queue] redis_url, or leave that empty for the embedded one"
        return Finding("Redis", Verdict.MISSING, "the configured one does not answer", remedy)
    if await embedded.answers(settings.redis_dsn):
        return Finding("Redis", Verdict.OK, "the embedded one is running")
    try:
        embedded.binary()
    except OperatorError as error:
        return Finding("Redis", Verdict.MISSING, str(error))
    return Finding("Redis", Verdict.OK, "embedded: starts with `likeness run`")


async def engine(settings: Settings) -> AsyncIterator[Finding]:
    """What the engine finds: its libraries, the models' files, the device. Asked in a process of its own."""
    asked = {**settings.engine.model_dump(exclude={"licence_confirmed"})}
    asked["cache_dir"] = str(settings.bot.data_dir / "cache")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine.check", json.dumps(asked)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaint = await process.communicate()
    lines = [json.loads(line) for line in output.decode().splitlines() if line.startswith("{")]
    for line in lines:
        yield Finding(line["name"], Verdict(line["verdict"]), line["detail"], line["remedy"])
    if process.returncode != 0 or not lines:
        last = (complaint.decode().strip().splitlines() or ["no message"])[-1]
        remedy = 'Install it on the machine with the GPU: pip install "likeness[engine]"'
        yield Finding("engine", Verdict.MISSING, f"does not start: {last}", remedy)


async def report(path: Path | None) -> int:
    """Print every finding; 1 if the service could not run, else 0."""
    missing = 0
    async for finding in examine(path):
        print(finding)
        missing += finding.verdict is Verdict.MISSING
    if missing:
        print(f"\nLikeness cannot run yet: {missing} of these must be mended.")
    else:
        print("\nLikeness can run: `likeness run`.")
    return 1 if missing else 0
