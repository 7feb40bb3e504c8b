"""What people must know of their data, in every variant of an installation."""

import pytest

from bot.texts import TEXT_MAX, render

POLICY = {"contact": "", "base": "demo", "hours": 24, "headshot_hours": 24, "days": 30, "marked": True}


@pytest.mark.parametrize("why", ["start", "photos", "command", "changed"])
def test_the_consent_card_is_short(why: str) -> None:
    text = render("consent", {"why": why, "hours": 24, "days": 30, "marked": True})
    assert len(text) < 700
    assert sum(line.startswith("•") for line in text.splitlines()) == 4


def test_the_policy_follows_the_settings() -> None:
    text = render(
        "privacy", POLICY | {"hours": 72, "headshot_hours": 5, "days": 1, "contact": "studio@example.org"}
    )
    assert "selfies 3 days after a training" in text
    assert "headshots here 5 hours after they were sent" in text
    assert "the model after 1 day without use" in text
    assert text.endswith("\nQuestions: studio@example.org")
    assert len(text) <= TEXT_MAX
    assert render("privacy", POLICY).endswith("\nQuestions: ask whoever runs this studio")


def test_no_mark_is_promised_where_the_operator_switched_it_off() -> None:
    card = {"why": "start", "hours": 24, "days": 30}
    assert "marked as AI-made" in render("consent", card | {"marked": True})
    assert "marked" not in render("consent", card | {"marked": False}).lower()
    assert "AI-made" in render("privacy", POLICY)
    assert "mark" not in render("privacy", POLICY | {"marked": False}).lower()


def test_the_receipt_counts() -> None:
    values = {"at": 0.0, "selfies": 1, "models": 0, "headshots": 2, "in_flight": 0}
    text = render("deleted", values)
    assert "1 selfie, with every measurement" in text
    assert "0 models" in text
    assert "in the making" not in text
    assert "1 in the making, stopped" in render("deleted", values | {"in_flight": 1})
