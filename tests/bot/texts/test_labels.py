"""Buttons say what happens when they are pressed."""

from bot.texts import label


def test_labels_carry_their_numbers() -> None:
    assert label("use_anyway", number=7) == "Use 7 anyway"
    assert label("train_anyway", count=11) == "Train with 11 now"
    assert label("style", label="{odd}") == "{odd}"
    assert "18 or older" in label("consent_yes")
