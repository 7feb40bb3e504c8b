"""Settings: `config.toml` plus secrets from the environment or `.env`. Nothing is read at import time."""

import difflib
import hashlib
import importlib.util
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from bot.conversation.types import Rules
from bot.errors import ConfigError

SECRETS = (
    "TELEGRAM_TOKEN",
    "DISCORD_TOKEN",
    "TELEGRAM_WEBHOOK_SECRET",
    "LIKENESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
# Addresses that may hold a password, so that they can stay out of config.toml too.
ADDRESSES = {"LIKENESS_DATABASE_URL": ("store", "database_url"), "LIKENESS_REDIS_URL": ("queue", "redis_url")}
SOCKET_PATH_MAX = 100  # bytes; the kernels' own limits are 104 and 108
FREE_BASES = ("demo", "tiny")  # no licence to confirm: they ship with the project
_ENV_LINE = re.compile(
    r"""\s*(export\s+)?(?P<key>\w+)\s*=\s*((?P<quote>["'])(?P<quoted>.*?)(?P=quote)|(?P<bare>.*?))\s*((?<=\s)\#.*)?$""",
    re.VERBOSE,
)
_BUCKET = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]+[a-z0-9])/(?P<prefix>[\w-]+(/[\w-]+)*)/?")
_POSTGRES = re.compile(r"postgres(ql)?://")  # as everybody writes it; SQLAlchemy wants the driver's name too


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BotSettings(_Table):
    """[bot]"""

    data_dir: Path = Path("data")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    operator_contact: str = ""


class TelegramSettings(_Table):
    """[telegram]"""

    mode: Literal["polling", "webhook"] = "polling"
    webhook_url: str = ""
    webhook_listen: str = "0.0.0.0"  # noqa: S104  a webhook must be reachable; the operator can narrow it
    webhook_port: int = Field(default=8443, ge=1, le=65535)
    api_url: str = "https://api.telegram.org"


class DiscordSettings(_Table):
    """[discord]"""

    api_url: str = ""
    sync_guild_id: int = 0


class StoreSettings(_Table):
    """[store]"""

    database_url: str = ""
    blob_dir: str = ""
    blob_url: str = ""
    blob_endpoint: str = ""
    blob_region: str = ""

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        url = _POSTGRES.sub("postgresql+psycopg://", url, count=1)
        if not url or re.fullmatch(r"sqlite:///.+", url):
            return url
        if not re.fullmatch(r"postgresql\+psycopg://.+", url):
            raise ValueError("an address is sqlite:///path/of/a/file or postgresql://user:password@host/name")
        if importlib.util.find_spec("psycopg") is None:
            raise ValueError('Postgres needs its driver: pip install "likeness[postgres]"')
        return url

    @field_validator("blob_url")
    @classmethod
    def _known_bucket(cls, url: str) -> str:
        # Files below the prefix that no row mentions are deleted: nothing else may lie there.
        if url and not _BUCKET.fullmatch(url):
            raise ValueError(
                "an address is s3://bucket/prefix; all below the prefix belongs to Likeness alone"
            )
        return url

    @field_validator("blob_endpoint")
    @classmethod
    def _known_endpoint(cls, url: str) -> str:
        if url and not re.fullmatch(r"https?://[^/\s]+/?", url):
            raise ValueError("an address is https://host or http://host:port")
        return url

    @model_validator(mode="after")
    def _one_place(self) -> "StoreSettings":
        if self.blob_dir and self.blob_url:
            raise ValueError("blob_dir and blob_url are both set: files lie in a folder or in a bucket")
        return self


class QueueSettings(_Table):
    """[queue]"""

    redis_url: str = ""
    sweep_seconds: float = Field(default=30, gt=0)
    stale_seconds: float = Field(default=60, gt=0)

    @field_validator("redis_url")
    @classmethod
    def _known_redis(cls, url: str) -> str:
        if url and not re.fullmatch(r"(rediss?|unix)://.+", url):
            raise ValueError("an address is redis://host:6379/0, rediss://... or unix:///path/of/a/socket")
        return url


class RuleSettings(_Table):
    """[rules]"""

    min_selfies: int = Field(default=8, ge=1)
    wanted_selfies: int = Field(default=15, ge=1)
    max_selfies: int = Field(default=25, ge=1, le=100)
    max_photo_mib: int = Field(default=20, ge=1)
    headshots_per_shoot: int = Field(default=4, ge=1, le=10)
    max_headshots_per_shoot: int = Field(default=8, ge=1, le=10)
    shoots_per_day: int = Field(default=40, ge=1)
    trainings_per_day: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _in_order(self) -> "RuleSettings":
        if not self.min_selfies <= self.wanted_selfies <= self.max_selfies:
            raise ValueError("min_selfies, wanted_selfies and max_selfies must not fall in this order")
        if self.headshots_per_shoot > self.max_headshots_per_shoot:
            raise ValueError("headshots_per_shoot must not be above max_headshots_per_shoot")
        return self


class RetentionSettings(_Table):
    """[retention]"""

    selfie_hours: int = Field(default=24, ge=0)
    adapter_idle_days: int = Field(default=30, ge=1)
    headshot_hours: int = Field(default=24, ge=1)


class EngineSettings(_Table):
    """[engine]; the engine checks the meaning of the values itself (`engine.config`)."""

    base: str = "demo"
    licence_confirmed: bool = False
    device: str = "auto"
    preset: Literal["fast", "balanced", "best"] = "balanced"
    threads: int = Field(default=0, ge=0)
    memory_tier: Literal["auto", "80gb", "48gb", "24gb", "16gb", "12gb"] = "auto"
    merge: Literal["auto", "on", "off"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    cuda_graphs: Literal["auto", "off"] = "auto"
    attention: Literal["auto", "safe"] = "auto"
    kernels: Literal["auto", "off"] = "auto"
    fp8: Literal["auto", "on", "off"] = "auto"
    detector_path: str = ""
    recognizer_path: str = ""
    safety_path: str = ""
    candidates_per_headshot: int = Field(default=3, ge=1, le=20)
    mark_images: bool = True

    @property
    def licence_needed(self) -> bool:
        """The base has a licence that the operator must confirm first."""
        return self.base not in FREE_BASES and not self.licence_confirmed


class Settings(_Table):
    """All settings of one installation."""

    bot: BotSettings = BotSettings()
    telegram: TelegramSettings = TelegramSettings()
    discord: DiscordSettings = DiscordSettings()
    store: StoreSettings = StoreSettings()
    queue: QueueSettings = QueueSettings()
    rules: RuleSettings = RuleSettings()
    retention: RetentionSettings = RetentionSettings()
    engine: EngineSettings = EngineSettings()
    secrets: dict[str, SecretStr] = {}

    def secret(self, name: str) -> str:
        """A secret from the environment, or an empty string."""
        value = self.secrets.get(name)
        return value.get_secret_value() if value else ""

    @property
    def database_url(self) -> str:
        """SQLAlchemy's URL of the database."""
        return self.store.database_url or f"sqlite:///{self.bot.data_dir / 'likeness.db'}"

    @property
    def blob_dir(self) -> Path:
        """The folder of the encrypted files."""
        return Path(self.store.blob_dir) if self.store.blob_dir else self.bot.data_dir / "blobs"

    @property
    def bucket(self) -> tuple[str, str]:
        """The bucket of the encrypted files and what their names begin with, where `blob_url` is set."""
        found = _BUCKET.fullmatch(self.store.blob_url)
        assert found
        return found["bucket"], found["prefix"] + "/"

    @property
    def redis_socket(self) -> Path:
        """The unix socket of the embedded Redis: in data_dir, or elsewhere where that path is too long."""
        path = (self.bot.data_dir / "run" / "redis.sock").absolute()
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
            return path
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"likeness-{os.getuid()}" / f"{name}.sock"

    @property
    def redis_dsn(self) -> str:
        """Where arq finds Redis: the configured server, or the embedded one's socket."""
        return self.queue.redis_url or f"unix://{self.redis_socket}"

    def conversation_rules(self, consent_version: int) -> Rules:
        """The numbers that the conversation obeys."""
        return Rules(
            min_selfies=self.rules.min_selfies,
            wanted_selfies=self.rules.wanted_selfies,
            max_selfies=self.rules.max_selfies,
            max_photo_bytes=self.rules.max_photo_mib * 1024 * 1024,
            headshots_per_shoot=self.rules.headshots_per_shoot,
            max_headshots_per_shoot=self.rules.max_headshots_per_shoot,
            shoots_per_day=self.rules.shoots_per_day,
            trainings_per_day=self.rules.trainings_per_day,
            consent_version=consent_version,
            base_name=self.engine.base,
            retention_hours=self.retention.selfie_hours,
            headshot_hours=self.retention.headshot_hours,
            adapter_idle_days=self.retention.adapter_idle_days,
            marked=self.engine.mark_images,
            operator_contact=self.bot.operator_contact,
        )


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for a process that needs no secret of ours."""
    return {key: value for key, value in environ.items() if key not in (*SECRETS, *ADDRESSES)}


def read_env_file(path: Path) -> dict[str, str]:
    """KEY=VALUE lines of a `.env` file, quoted or not, perhaps with a comment behind; missing file = nothing.

    Raises ConfigError.
    """
    if not path.is_file():
        return {}
    found = (_ENV_LINE.match(line) for line in _read(path).splitlines())
    return {each["key"]: each["quoted"] or each["bare"] or "" for each in found if each}


def load(path: Path | None = None, environ: dict[str, str] | None = None) -> Settings:
    """Read settings. `path` defaults to $LIKENESS_CONFIG, else `config.toml` here, else all defaults.

    Raises ConfigError naming the setting, the problem and the remedy.
    """
    env = dict(os.environ) if environ is None else environ
    chosen = path or Path(env.get("LIKENESS_CONFIG", "config.toml"))
    explicit = path is not None or "LIKENESS_CONFIG" in env
    if explicit and not chosen.is_file():
        raise ConfigError("config", f"{chosen} does not exist", "Give the path of a config.toml")
    values = _tables(chosen)
    secrets = {**read_env_file(chosen.parent / ".env"), **env}
    for name, (table, key) in ADDRESSES.items():
        if secrets.get(name):
            values[table] = {**values.get(table, {}), key: secrets[name]}
    values["secrets"] = {name: secrets[name] for name in SECRETS if secrets.get(name)}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        setting, problem = _mistake(error)
        places = {".".join(place): name for name, place in ADDRESSES.items() if secrets.get(name)}
        raise ConfigError(setting, problem, f"Mend it in {places.get(setting, chosen)}") from error


def _tables(path: Path) -> dict[str, Any]:
    """The tables of a config.toml; a missing file has none."""
    if not path.is_file():
        return {}
    try:
        values: dict[str, Any] = tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), f"not valid TOML: {error}", "Mend that line") from error
    for name, table in values.items():
        if name == "secrets":
            raise ConfigError("secrets", "they do not belong into config.toml", "Put them into .env")
        if not isinstance(table, Mapping):
            raise ConfigError(name, "it stands outside of any [table]", f"Mend it in {path}")
    return values


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # Windows' editors begin a file with a mark
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "it is no UTF-8 text", "Save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(str(path), f"it cannot be read ({error.strerror})", "Make it readable") from error


def _mistake(error: ValidationError) -> tuple[str, str]:
    """Which setting is wrong, and how, in words for the operator."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if first["type"] != "extra_forbidden":
        return ".".join(place), first["msg"].removeprefix("Value error, ")
    known = Settings.model_fields
    if len(place) > 1:
        known = known[place[0]].annotation.model_fields  # type: ignore[union-attr]
    near = difflib.get_close_matches(place[-1], [name for name in known if name != "secrets"], 1)
    return ".".join(place), "there is no such setting" + (f"; did you mean {near[0]}?" if near else "")
