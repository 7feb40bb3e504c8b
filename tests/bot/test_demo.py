"""The demo: bad folders get a sentence at once, its settings are its own, and (slow) it plays to the end."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image
from pydantic import SecretStr

from bot.config import Settings, load
from bot.demo import _own_settings, _photos, _toml
from bot.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (None, "does not exist"),
        ([], "holds no photos"),
        (["a.pdf", "b.pdf", "c.txt"], "holds no photos"),
        (["a.jpg", "b.JPEG"], "holds 2 photos, 8 are needed"),
    ],
)
def test_a_folder_that_cannot_work_is_refused_at_once(
    tmp_path: Path, names: list[str] | None, sentence: str
) -> None:
    folder = tmp_path / "selfies"
    for name in names or []:
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    if names == []:
        folder.mkdir()
    with pytest.raises(ConfigError, match=sentence):
        _photos(folder, 8)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="is not a folder"):
        _photos(tmp_path / "a.jpg", 8)


def test_the_demo_has_places_of_its_own_and_no_secrets(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "store": {"database_url": "postgresql://elsewhere"},
            "queue": {"redis_url": "redis://elsewhere"},
            "rules": {"headshots_per_shoot": 3},
            "engine": {"preset": "best"},
            "secrets": {"TELEGRAM_TOKEN": SecretStr("t")},
        }
    )
    own = _own_settings(settings, tmp_path)
    (tmp_path / "config.toml").write_text(_toml(own))
    read = load(tmp_path / "config.toml", environ={})
    assert read == own
    assert read.secrets == {}
    assert str(tmp_path) in read.redis_dsn + read.database_url
    assert (read.rules.headshots_per_shoot, read.engine.preset) == (3, "best")


def demo(folder: Path, *more: str) -> subprocess.Popen[str]:
    config = folder / "config.toml"
    config.write_text(
        "[engine]\nbase = 'tiny'\npreset = 'fast'\nthreads = 1\n[rules]\nheadshots_per_shoot = 2\n"
    )
    (folder / "tmp").mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "bot", "demo", "--config", str(config), "--out", str(folder / "out"), *more],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.slow
@pytest.mark.redis
@pytest.mark.timeout(240)
def test_it_plays_to_the_end_and_leaves_pictures_and_nothing_else(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        output, _ = process.communicate(timeout=220)
    assert process.returncode == 0, output
    sheet = tmp_path / "out" / "contact-sheet.png"
    assert f"Contact sheet: {sheet}" in output
    with Image.open(sheet) as page:
        assert page.width > 1000
    stages = json.loads((tmp_path / "out" / "stages.json").read_text())
    assert stages["everything"] >= max(stages.values())
    headshots = [
        path for path in (tmp_path / "out").iterdir() if path not in (sheet, tmp_path / "out/stages.json")
    ]
    assert len(headshots) in (2, 4)
    assert list((tmp_path / "tmp").glob("likeness-demo-*")) == []
    assert not _left_over(tmp_path)


@pytest.mark.slow
@pytest.mark.redis
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_leaves_no_process_behind_when_it_is_stopped(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path) as process:
        while len(family(process)) < 2:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        time.sleep(1.5)
        children = family(process)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert "Stopped." in output
        assert "Traceback" not in output
        assert list((tmp_path / "tmp").glob("likeness-demo-*")) == []


@pytest.mark.slow
@pytest.mark.redis
@pytest.mark.timeout(240)
def test_photos_of_nobody_are_refused_one_by_one_and_the_demo_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "nonsense"
    folder.mkdir()
    for number in range(8):
        Image.new("RGB", (640, 640), (number * 30, 90, 90)).save(folder / f"{number}.jpg")
    with demo(tmp_path, "--selfies", str(folder)) as process:
        output, _ = process.communicate(timeout=220)
    assert process.returncode == 2, output
    assert "Too few of the photos can be used" in output
    assert "Traceback" not in output


def _left_over(folder: Path) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or ())
        if str(folder) in words or str(Path(tempfile.gettempdir()) / folder.name) in words:
            found.append(words)
    return found
