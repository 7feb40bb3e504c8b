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
        ("[rules]\nmin_selfies = 30", "min_selfies, wanted_selfies and max_selfies"),
        ("[rules]\nheadshots_per_shoot = 9", "max_headshots_per_shoot"),
        ("[store]\ndatabase_url = 'mysql://host/name'", "store.database_url"),
        ("[store]\ndatabase_url = 'nonsense'", "store.database_url"),
        ("[store]\ndatabase_url = 'sqlite://'", "store.database_url"),
        ("[queue]\nredis_url = 'localhost:6379'", "queue.redis_url"),
        ("[store]\nblob_url = 's3://bucket'", "store.blob_url"),
        ("[store]\nblob_url = 'https://bucket/x'", "store.blob_url"),
        ("[store]\nblob_endpoint = 'minio:9000'", "store.blob_endpoint"),
        ("[store]\nblob_url = 's3://bucket/x'\nblob_dir = 'x'", "blob_dir and blob_url are both set"),
        ("[secrets]\nTELEGRAM_TOKEN = 'x'", "secrets: they do not belong into config.toml"),
        ("store = 3", "store"),
        ("log_level = 'INFO'\n[bot]", "log_level: it stands outside of any [table]"),
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


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgres_may_be_written_as_people_write_it(tmp_path: Path, scheme: str) -> None:
    settings = load(written(tmp_path, f"[store]\ndatabase_url = '{scheme}://me:pass@host/name'"), environ={})
    assert settings.database_url == "postgresql+psycopg://me:pass@host/name"


def test_a_mistyped_setting_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no such setting; did you mean min_selfies\?"):
        load(written(tmp_path, "[rules]\nmin_selfeis = 3"), environ={})
    with pytest.raises(ConfigError, match=r"did you mean rules\?"):
        load(written(tmp_path, "[rule]\nmin_selfies = 3"), environ={})


def test_a_mistake_in_the_environment_is_looked_for_there_and_shows_no_password(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match="LIKENESS_REDIS_URL") as caught:
        load(written(tmp_path, ""), environ={"LIKENESS_REDIS_URL": "http://:secret@host"})
    assert "secret" not in str(caught.value)


def test_files_that_are_no_text_and_files_with_a_mark(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(path, environ={})
    path.write_bytes(b"\xef\xbb\xbf[rules]\nmin_selfies = 3\n")
    assert load(path, environ={}).rules.min_selfies == 3
    (tmp_path / ".env").write_bytes(b"TELEGRAM_TOKEN=\xff\n")
    with pytest.raises(ConfigError, match=r"\.env"):
        load(path, environ={})


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
    assert len(SECRETS) == 7


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=a=b#c", "a=b#c"),
        ("  KEY = a b  # a remark", "a b"),
        ("KEY='a # b' # a remark", "a # b"),
        ('export KEY="a"', "a"),
        ("KEY=", ""),
        ("KEY=# nothing yet", "# nothing yet"),
        ("KEY= # nothing yet", ""),
        ("KEY='half", "'half"),
    ],
)
def test_lines_of_an_env_file(tmp_path: Path, line: str, value: str) -> None:
    path = tmp_path / ".env"
    path.write_text(f"#KEY=commented out\n{line}\nOTHER=1\r\n")
    assert read_env_file(path) == {"KEY": value, "OTHER": "1"}
