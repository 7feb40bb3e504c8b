"""Settings come from config.toml, secrets from the environment, and mistakes get a sentence."""

from pathlib import Path

import pytest

from bot.config import SECRETS, Settings, load, read_env_file
from bot.errors import ConfigError


def written(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_without_any_file_everything_has_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(environ={}) == Settings()


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load(tmp_path / "nowhere.toml", environ={})
    with pytest.raises(ConfigError, match="does not exist"):
        load(environ={"LIKENESS_CONFIG": str(tmp_path / "nowhere.toml")})


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("[rules]\nmin_selfeis = 3", "rules.min_selfeis"),
        ("[rules]\nmin_selfies = 0", "rules.min_selfies"),
        ("[engine]\npreset = 'superb'", "engine.preset"),
        ("[colours]\nred = 1", "colours"),
        ("[bot\n", "config.toml"),
    ],
)
def test_a_mistake_is_named_with_its_setting(tmp_path: Path, text: str, setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text), environ={})
    assert setting in str(caught.value)


def test_the_environment_wins_over_the_env_file_and_secrets_never_show(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    (tmp_path / ".env").write_text(
        "# tokens\nexport TELEGRAM_TOKEN='from file'\nDISCORD_TOKEN=also from file\nnonsense\n"
    )
    settings = load(path, environ={"TELEGRAM_TOKEN": "from environment"})
    assert settings.secret("TELEGRAM_TOKEN") == "from environment"
    assert settings.secret("DISCORD_TOKEN") == "also from file"
    assert settings.secret("LIKENESS_KEY") == ""
    assert "from environment" not in repr(settings)
    assert "from environment" not in settings.model_dump_json()


def test_addresses_with_passwords_come_from_the_environment_too(tmp_path: Path) -> None:
    path = written(tmp_path, "[queue]\nredis_url = 'redis://one'\n")
    addresses = {"LIKENESS_REDIS_URL": "redis://two", "LIKENESS_DATABASE_URL": "sqlite:///x.db"}
    settings = load(path, environ=addresses)
    assert settings.redis_dsn == "redis://two"
    assert settings.database_url == "sqlite:///x.db"


def test_places_follow_the_data_folder(tmp_path: Path) -> None:
    settings = load(written(tmp_path, f"[bot]\ndata_dir = '{tmp_path}/data'"), environ={})
    assert settings.database_url == f"sqlite:///{tmp_path}/data/likeness.db"
    assert settings.blob_dir == tmp_path / "data" / "blobs"
    assert settings.redis_dsn.startswith("unix:///")


def test_only_a_base_with_a_licence_needs_its_confirmation() -> None:
    assert not Settings().engine.licence_needed
    flux = Settings.model_validate({"engine": {"base": "flux1-dev"}})
    assert flux.engine.licence_needed
    sure = Settings.model_validate({"engine": {"base": "flux1-dev", "licence_confirmed": True}})
    assert not sure.engine.licence_needed


def test_a_missing_env_file_is_no_mistake(tmp_path: Path) -> None:
    assert read_env_file(tmp_path / ".env") == {}
    assert len(SECRETS) == 4
