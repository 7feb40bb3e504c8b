"""A person at the keyboard: what they type is answered, and leaving leaves nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.redis
def test_words_through_a_pipe_are_answered(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[engine]\nbase = 'tiny'\n")
    done = subprocess.run(
        [sys.executable, "-m", "bot", "chat"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input="/help\n./nowhere.jpg\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "› /help" in done.stdout
    assert "/headshot" in done.stdout
    assert "There is no photo at ./nowhere.jpg" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert (tmp_path / "data" / "likeness.db").is_file()
    alive = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert not [words for words in alive if str(tmp_path) in words]
