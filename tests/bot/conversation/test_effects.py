"""What the conversation wants; and the operator's numbers, which come from the settings."""

from dataclasses import fields

from pydantic import TypeAdapter

from bot.config import Settings
from bot.conversation.types import Button, Rules


def test_buttons_survive_json() -> None:
    rows: TypeAdapter[tuple[tuple[Button, ...], ...]] = TypeAdapter(tuple[tuple[Button, ...], ...])
    made = ((Button("Café ✓", "style", "cafe"),), ())
    assert rows.validate_json(rows.dump_json(made)) == made


def test_every_rule_comes_from_a_setting() -> None:
    changed = Settings.model_validate(
        {
            "bot": {"operator_contact": "studio@example.org"},
            "rules": {
                **{"min_selfies": 3, "wanted_selfies": 4, "max_selfies": 5, "max_photo_mib": 6},
                **{"headshots_per_shoot": 7, "max_headshots_per_shoot": 9},
                **{"shoots_per_day": 11, "trainings_per_day": 12},
            },
            "retention": {"selfie_hours": 13, "adapter_idle_days": 14, "headshot_hours": 15},
            "engine": {"base": "other", "mark_images": False},
        }
    ).conversation_rules(consent_version=16)
    usual = Rules()
    assert [
        rule.name for rule in fields(Rules) if getattr(changed, rule.name) == getattr(usual, rule.name)
    ] == []
    assert changed.max_photo_bytes == 6 * 1024 * 1024
    assert Settings().conversation_rules(1).retention_hours == usual.retention_hours
