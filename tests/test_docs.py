"""What is written for operators is true: each knob stands in config.toml with its default, commands exist."""

import re
import tomllib
from pathlib import Path

import pytest

from bot.__main__ import parser
from bot.config import Settings, load

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "config.toml"
README = ROOT / "README.md"

# Every knob there is. A new one is a promise to operators: add it here on purpose.
KNOBS = """
bot.data_dir bot.log_level bot.operator_contact
telegram.mode telegram.webhook_url telegram.webhook_listen telegram.webhook_port telegram.api_url
discord.api_url discord.sync_guild_id
store.database_url store.blob_dir store.blob_url store.blob_endpoint store.blob_region
queue.redis_url queue.sweep_seconds queue.stale_seconds
rules.min_selfies rules.wanted_selfies rules.max_selfies rules.max_photo_mib rules.headshots_per_shoot
rules.max_headshots_per_shoot rules.shoots_per_day rules.trainings_per_day
retention.selfie_hours retention.adapter_idle_days retention.headshot_hours
engine.base engine.licence_confirmed engine.device engine.preset engine.threads engine.memory_tier
engine.merge engine.compile engine.cuda_graphs engine.attention engine.kernels engine.fp8
engine.detector_path engine.recognizer_path engine.safety_path
engine.candidates_per_headshot engine.mark_images
""".split()  # noqa: SIM905  a list of words reads better


def knobs_of(values: dict[str, dict[str, object]]) -> dict[str, object]:
    return {f"{table}.{key}": value for table, keys in values.items() for key, value in keys.items()}


def test_the_list_of_knobs_is_frozen() -> None:
    tables = Settings.model_fields.keys() - {"secrets"}
    known = {f"{table}.{key}" for table in tables for key in getattr(Settings(), table).model_fields_set}
    known |= {f"{table}.{key}" for table in tables for key in type(getattr(Settings(), table)).model_fields}
    assert known == set(KNOBS)


def test_config_toml_has_every_knob_with_its_default() -> None:
    shipped = knobs_of(tomllib.loads(CONFIG.read_text()))
    assert list(shipped) == KNOBS
    assert load(CONFIG, environ={}).model_dump(exclude={"secrets"}) == Settings().model_dump(
        exclude={"secrets"}
    )


def test_every_knob_has_a_line_of_meaning() -> None:
    lines = [line for line in CONFIG.read_text().splitlines() if re.match(r"\w+ = ", line)]
    assert len(lines) == len(KNOBS)
    assert [line for line in lines if not re.search(r"# \w.{8,}", line)] == []


def test_the_settings_of_the_containers_are_valid() -> None:
    assert load(ROOT / "docker" / "config.toml", environ={}).bot.data_dir == Path("/data")


@pytest.mark.parametrize(
    "document", [README, *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_commands_in_the_documents_exist(document: Path) -> None:
    blocks = re.findall(r"```(?:sh|bash|console)?\n(.*?)```", document.read_text(), re.DOTALL)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in "\n".join(blocks).splitlines():
        words = line.split("#")[0].removeprefix("$ ").split()
        if words[:1] == ["make"]:
            assert [word for word in words[1:] if "=" not in word and word not in targets] == []
        if words[:1] == ["likeness"]:
            parser().parse_args(words[1:])  # ends the test if it is unknown


@pytest.mark.parametrize(
    "document", [README, *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_files_that_the_documents_link_exist(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_readme_names_each_command() -> None:
    text = README.read_text()
    for name in ("demo", "chat", "run", "bot", "worker", "doctor"):
        assert f"likeness {name}" in text or f"make {name}" in text, name
