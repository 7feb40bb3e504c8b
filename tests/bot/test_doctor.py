"""The doctor says in plain words what is missing and how to mend it, and its exit status tells a script."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bot import doctor
from bot.config import Settings
from bot.doctor import Finding, Verdict
from bot.store.database import Database

ROOT = Path(__file__).parents[2]
TELEGRAM = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"
DISCORD = "MTAxMDEwMTAxMDEwMTAxMDEw.GaBcDe.abcdefghijklmnopqrstuvwxyz0123456789AB"


def settings_with(folder: Path, **tables: Any) -> Settings:
    return Settings.model_validate({"bot": {"data_dir": folder}, **tables})


def one(findings: Any) -> Finding:
    (finding,) = findings
    return finding


def test_tokens_are_looked_at_but_never_shown(tmp_path: Path) -> None:
    good = settings_with(tmp_path, secrets={"TELEGRAM_TOKEN": TELEGRAM, "DISCORD_TOKEN": DISCORD})
    found = list(doctor.tokens(good))
    assert [finding.verdict for finding in found] == [Verdict.OK, Verdict.OK]
    assert not any(TELEGRAM in str(finding) or DISCORD in str(finding) for finding in found)
    cut = settings_with(tmp_path, secrets={"TELEGRAM_TOKEN": TELEGRAM[:20]})
    assert "does not look like one" in one(doctor.tokens(cut)).detail
    none = one(doctor.tokens(settings_with(tmp_path)))
    assert none.verdict is Verdict.MISSING
    assert "TELEGRAM_TOKEN" in none.remedy


def test_a_webhook_needs_an_address(tmp_path: Path) -> None:
    settings = settings_with(
        tmp_path, secrets={"TELEGRAM_TOKEN": TELEGRAM}, telegram={"mode": "webhook", "webhook_url": ""}
    )
    assert [finding.verdict for finding in doctor.tokens(settings)] == [Verdict.OK, Verdict.MISSING]


def test_an_own_bot_api_server_may_call_plain_http(tmp_path: Path) -> None:
    hook = {"mode": "webhook", "webhook_url": "http://bot.local"}
    own = {**hook, "api_url": "http://api.local:8081"}
    for telegram, verdict in ((hook, Verdict.MISSING), (own, Verdict.OK)):
        settings = settings_with(tmp_path, secrets={"TELEGRAM_TOKEN": TELEGRAM}, telegram=telegram)
        assert list(doctor.tokens(settings))[-1].verdict is verdict


def test_an_unconfirmed_licence(tmp_path: Path) -> None:
    finding = doctor.licence(settings_with(tmp_path, engine={"base": "flux1-dev"}))
    assert finding.verdict is Verdict.MISSING
    assert "licence_confirmed = true" in finding.remedy
    assert doctor.licence(settings_with(tmp_path)).verdict is Verdict.OK


def test_a_data_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = one(doctor.data_folder(settings_with(tmp_path / "file" / "data")))
    assert found.verdict is Verdict.MISSING
    assert "data_dir" in found.remedy
    fine = list(doctor.data_folder(settings_with(tmp_path / "new")))
    assert [finding.name for finding in fine] == ["data folder", "disk space"]
    assert not (tmp_path / "new").exists()


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 100 * 2**20})
    monkeypatch.setattr("bot.doctor.shutil.disk_usage", lambda _: usage)
    assert list(doctor.data_folder(settings_with(tmp_path)))[1].verdict is Verdict.MISSING


def test_a_key_that_is_too_short(tmp_path: Path) -> None:
    short = doctor.key(settings_with(tmp_path, secrets={"LIKENESS_KEY": "short"}))
    assert short.verdict is Verdict.MISSING
    long = doctor.key(settings_with(tmp_path, secrets={"LIKENESS_KEY": "x" * 32}))
    assert long.verdict is Verdict.OK
    assert doctor.key(settings_with(tmp_path)).verdict is Verdict.OK
    assert list(tmp_path.iterdir()) == []  # looking makes no key


async def test_a_redis_that_does_not_answer(tmp_path: Path) -> None:
    away = settings_with(tmp_path, queue={"redis_url": f"unix://{tmp_path}/none.sock"})
    assert (await doctor.redis(away)).verdict is Verdict.MISSING
    assert (await doctor.redis(settings_with(tmp_path))).verdict is Verdict.OK


async def test_the_database(tmp_path: Path) -> None:
    settings = settings_with(tmp_path)
    assert (await doctor.database(settings)).verdict is Verdict.OK
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "likeness.db").touch()
    assert (await doctor.database(settings)).verdict is Verdict.NOTE
    database = Database(settings.database_url)
    database.migrate()
    database.close()
    assert (await doctor.database(settings)).verdict is Verdict.OK
    (tmp_path / "likeness.db").write_bytes(b"no database" * 1000)
    assert (await doctor.database(settings)).verdict is Verdict.MISSING


async def test_a_bucket_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.store.s3.ATTEMPTS_MAX", 1)
    store = {"blob_url": "s3://likeness/files", "blob_endpoint": "http://127.0.0.1:1", "blob_region": "x"}
    secrets = {"LIKENESS_KEY": "x" * 32, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hush"}
    found = await doctor.bucket(settings_with(tmp_path, store=store, secrets=secrets))
    assert found.verdict is Verdict.MISSING
    assert "blob_endpoint" in found.detail
    assert "hush" not in str(found)


@pytest.mark.slow
def test_a_whole_report_and_its_exit_status(tmp_path: Path) -> None:
    def ask(**environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bot", "doctor"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ},
            capture_output=True,
            text=True,
            check=False,
        )

    (tmp_path / "config.toml").write_text("[engine]\nbase = 'tiny'\n")
    fine = ask(TELEGRAM_TOKEN=TELEGRAM)
    assert fine.returncode == 0, fine.stdout
    assert "Likeness can run" in fine.stdout
    lacking = ask()
    assert lacking.returncode == 1
    assert "MISSING chat tokens" in lacking.stdout
    assert "1 of these must be mended" in lacking.stdout
    (tmp_path / "config.toml").write_text("[engine]\nbsae = 'tiny'\n")
    wrong = ask()
    assert wrong.returncode == 1
    assert "engine.bsae" in wrong.stdout
    assert "Traceback" not in wrong.stdout + wrong.stderr
