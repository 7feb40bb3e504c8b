"""The command line: one sentence for the operator, no tracebacks, and an exit status that tells."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from bot.__main__ import guarded, parser
from bot.config import Settings
from bot.embedded import claim
from bot.errors import ConfigError

ROOT = Path(__file__).parents[2]


def likeness(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bot", *words],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("command", ["demo", "chat", "run", "bot", "worker", "doctor"])
def test_every_command_takes_a_config(command: str) -> None:
    arguments = parser().parse_args([command, "--config", "x.toml"])
    assert (arguments.command, arguments.config) == (command, Path("x.toml"))


@pytest.mark.usefixtures("own_logging")
def test_a_mistake_of_the_operator_is_one_sentence_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: argparse.Namespace) -> int:
        raise ConfigError("rules", "are wrong", "Mend them")

    assert guarded(argparse.Namespace(command="chat", action=fail)) == 2
    assert capsys.readouterr().err == "likeness: rules: are wrong. Mend them\n"


@pytest.mark.usefixtures("own_logging")
def test_a_fault_of_ours_is_a_sentence_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: argparse.Namespace) -> int:
        raise ZeroDivisionError

    assert guarded(argparse.Namespace(command="chat", action=fail)) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "fault of Likeness itself" in lines[-1]
    assert lines[0].startswith("{")  # the trace is a field of a JSON line, not printed at people
    assert len(lines) == 2


@pytest.mark.usefixtures("own_logging")
def test_ctrl_c_is_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    assert guarded(argparse.Namespace(command="chat", action=fail)) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["run", "bot"])
def test_without_a_token_it_refuses_and_says_what_to_do(tmp_path: Path, command: str) -> None:
    done = likeness(tmp_path, command)
    assert done.returncode == 2
    assert "TELEGRAM_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["run", "bot", "chat", "demo"])
def test_an_unconfirmed_licence_is_refused(tmp_path: Path, command: str) -> None:
    (tmp_path / "config.toml").write_text("[engine]\nbase = 'flux1-dev'\n")
    (tmp_path / ".env").write_text("TELEGRAM_TOKEN=123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1\n")
    done = likeness(tmp_path, command)
    assert done.returncode == 2, done.stderr
    assert "licence_confirmed = true" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["demo", "chat", "run", "bot", "worker"])
def test_a_mistyped_setting_is_named(tmp_path: Path, command: str) -> None:
    (tmp_path / "config.toml").write_text("[bot]\ndata_dri = 'x'\n")
    done = likeness(tmp_path, command)
    assert done.returncode == 2
    assert "bot.data_dri" in done.stderr


def test_each_gpu_has_a_worker_until_one_cannot_run(tmp_path: Path) -> None:
    """Which is told by the first of them that the database's address leads nowhere."""
    (tmp_path / "config.toml").write_text(
        '[store]\ndatabase_url = "postgresql://nobody@127.0.0.1:1/none"\n[engine]\nbase = "tiny"\n'
    )
    alone, several = (likeness(tmp_path, "worker", CUDA_VISIBLE_DEVICES=each) for each in ("0", "0,1"))
    assert (alone.returncode, several.returncode) == (2, 2)
    assert "child started" not in alone.stderr
    assert several.stderr.count("child started") == 2
    assert "The worker 1 process cannot run" in several.stderr or "The worker 2 process" in several.stderr


def test_a_chat_is_served_once(tmp_path: Path) -> None:
    """Two processes with one outbox would say everything twice."""
    settings = Settings.model_validate({"bot": {"data_dir": tmp_path / "data"}})
    (tmp_path / ".env").write_text("TELEGRAM_TOKEN=123456:ABC-a_token_of_nobody_at_all_really\n")
    (tmp_path / "config.toml").write_text('[telegram]\napi_url = "http://127.0.0.1:9"\n')
    with claim(settings, "telegram"):
        done = likeness(tmp_path, "bot")
    assert done.returncode == 2
    assert "Another Likeness runs on" in done.stderr
