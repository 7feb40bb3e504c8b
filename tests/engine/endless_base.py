"""A base whose trainings are never over: only a cancellation or a signal ends them.

What a test does "in the middle of a training" it does on such a base, however fast or busy the machine is.
"""

import json
import shutil
from pathlib import Path

from engine.base_folder import SETTINGS_FILE

STEPS = 100_000  # minutes of training at the least, on the smallest base


def make_endless(base: Path, folder: Path) -> None:
    """Copy a base of few steps: the same weights and so the same revision, adapters fit both."""
    shutil.copytree(base, folder)
    _lengthen(folder, json.loads((base / SETTINGS_FILE).read_text()))


def make_endless_tiny(folder: Path) -> None:
    """The random base of the fast tests."""
    from engine.demo_base.tiny import make_tiny_base
    from engine.models import TINY_SETTINGS

    make_tiny_base(folder)
    _lengthen(folder, TINY_SETTINGS)


def _lengthen(folder: Path, settings: dict) -> None:
    lora = {**settings["lora"], "steps": STEPS}
    (folder / SETTINGS_FILE).write_text(json.dumps({**settings, "lora": lora}))
