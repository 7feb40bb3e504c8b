"""`likeness demo`: one person's whole journey, played by a script at the keyboard of the terminal platform.

Everything runs for real on this machine, in a data folder of its own that is removed at the end.
"""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from bot import log
from bot.application import confirm_licence
from bot.config import BotSettings, QueueSettings, Settings, StoreSettings
from bot.demo_script import Script
from bot.errors import ConfigError, OperatorError
from bot.platforms.screen import Screen
from bot.platforms.terminal import PHOTO_SUFFIXES
from bot.studio import serve_terminal
from bot.supervision import stop_on_signals

OWN_SELFIES = Path(__file__).parent / "demo_selfies"
STAGES_FILE = "stages.json"
INTERRUPTED_EXIT = 130


async def play(settings: Settings, selfies: Path | None, out_dir: Path, *, keep: bool) -> int:
    """Play the journey; the exit status. Raises OperatorError with a sentence where it cannot be played."""
    confirm_licence(settings)
    folder = selfies or OWN_SELFIES
    photos = _photos(folder, settings.rules.min_selfies)
    data_dir = Path(tempfile.mkdtemp(prefix="likeness-demo-"))
    screen = Screen(sys.stdout, live=sys.stdout.isatty())
    try:
        own = _own_settings(settings, data_dir)
        _clear(out_dir)
        config = data_dir / "config.toml"
        config.write_text(_toml(own))
        script = Script(own, folder, out_dir, screen)
        begun = time.monotonic()
        if not await _perform(script, own, config):
            screen.note("Stopped.")
            return INTERRUPTED_EXIT
        sheet = await _contact_sheet(script, photos, out_dir)
        script.stages["everything"] = round(time.monotonic() - begun, 1)
        _report(script, out_dir, sheet, screen)
    except OperatorError:
        shutil.copytree(data_dir / "logs", out_dir / "logs", dirs_exist_ok=True)
        screen.note(f"\nThe demo did not get to its end. Its logs: {(out_dir / 'logs').absolute()}")
        raise
    finally:
        if keep:
            screen.note(f"The demo's data is kept in {data_dir}.")
        else:
            shutil.rmtree(data_dir, ignore_errors=True)
    return 0


async def _perform(script: Script, settings: Settings, config: Path) -> bool:
    """Run everything and the script beside it; False if the person at the machine stopped it."""
    stop = asyncio.Event()
    stop_on_signals(stop)
    playing = asyncio.create_task(script.play())
    playing.add_done_callback(lambda _: stop.set())
    with log.to_file("demo", settings):
        try:
            await serve_terminal(settings, config, script.platform, stop)
        finally:
            if not playing.done():
                playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
    if playing.cancelled():
        return False
    playing.result()
    return True


def _photos(folder: Path, least: int) -> list[Path]:
    """The photos in a folder. Raises ConfigError where they cannot make a journey."""
    remedy = f"Give a folder with {least} or more photos of one person"
    if not folder.exists():
        raise ConfigError("--selfies", f"{folder} does not exist", remedy)
    if not folder.is_dir():
        raise ConfigError("--selfies", f"{folder} is not a folder", remedy)
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES)
    if not photos:
        kinds = ", ".join(sorted(suffix[1:] for suffix in PHOTO_SUFFIXES))
        raise ConfigError("--selfies", f"{folder} holds no photos ({kinds})", remedy)
    if len(photos) < least:
        raise ConfigError("--selfies", f"{folder} holds {len(photos)} photos, {least} are needed", remedy)
    return photos


def _clear(out_dir: Path) -> None:
    """Take away what an earlier demo left, and nothing else."""
    if (out_dir / STAGES_FILE).is_file():
        for path in out_dir.glob("headshot-*.*"):
            path.unlink()


def _own_settings(settings: Settings, data_dir: Path) -> Settings:
    """The operator's rules and engine, but places of the demo's own and no secrets."""
    return settings.model_copy(
        update={
            "bot": BotSettings(data_dir=data_dir, log_level=settings.bot.log_level),
            "store": StoreSettings(),
            "queue": QueueSettings(sweep_seconds=5, stale_seconds=settings.queue.stale_seconds),
            "secrets": {},
        }
    )


def _toml(settings: Settings) -> str:
    """Settings as a config.toml, for the worker's process."""
    tables = json.loads(settings.model_dump_json(exclude={"secrets"}))
    lines = []
    for table, values in tables.items():
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


async def _contact_sheet(script: Script, photos: list[Path], out_dir: Path) -> Path:
    out = out_dir / "contact-sheet.png"
    count = sum(len(pictures) for pictures in script.shoots.values())
    rows = [{"label": f"{len(photos)} selfies", "pictures": [str(path) for path in photos], "columns": 8}]
    for style, pictures in script.shoots.items():
        label = f"/headshot {style}"
        rows.append({"label": label, "pictures": [str(path) for path in pictures], "columns": 4})
    sheet = {"out": str(out), "title": f"{len(photos)} selfies, {count} headshots", "rows": rows}
    # The engine's side has the image library; the chat's side does without.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine.contact_sheet", json.dumps(sheet)), stderr=asyncio.subprocess.PIPE
    )
    _, complaint = await process.communicate()
    if process.returncode != 0:
        last = (complaint.decode().strip().splitlines() or ["no message"])[-1]
        raise OperatorError(f"The contact sheet could not be drawn: {last}")
    return out


def _report(script: Script, out_dir: Path, sheet: Path, screen: Screen) -> None:
    width = max(len(name) for name in script.stages)
    screen.note("\n" + "\n".join(f"{name:{width}} {took:7.1f} s" for name, took in script.stages.items()))
    (out_dir / STAGES_FILE).write_text(json.dumps(script.stages, indent=2) + "\n")
    screen.note(f"\nPictures: {out_dir.absolute()}\nContact sheet: {sheet.absolute()}")
