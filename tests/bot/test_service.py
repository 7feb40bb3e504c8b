"""A worker's process says in one sentence what only the operator can mend, with an exit status of its own."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bot.config import Settings
from bot.service import Service
from bot.store.database import Database
from bot.supervision import OPERATOR_EXIT


def test_an_operators_error_is_one_line_and_its_own_exit_status(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[store]\ndatabase_url = "postgresql+psycopg://nobody@127.0.0.1:1/none"\n')
    code = "from bot import service; import worker; service.run(worker.make)"
    environ = {**os.environ, "LIKENESS_CONFIG": str(config), "LIKENESS_KEY": "k" * 32}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == OPERATOR_EXIT
    assert "The database cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


class Still:
    """An engine and a tool that do nothing."""

    closed = False

    def start(self) -> None:
        pass

    async def close(self) -> None:
        self.closed = True

    async def ready(self) -> bool:
        return True

    async def tend(self) -> None:
        raise RuntimeError("broken")


async def test_a_loop_that_breaks_ends_the_process_after_everything_was_closed(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"bot": {"data_dir": tmp_path}, "queue": {"redis_url": f"unix://{tmp_path / 'none.sock'}"}}
    )
    still: Any = Still()
    service = Service(settings, Database(settings.database_url), still, still, {"check": 1})
    await service.open([])
    with pytest.raises(RuntimeError, match="broken"):
        await asyncio.wait_for(service.failed(), 10)
    await service.close()
    assert still.closed
