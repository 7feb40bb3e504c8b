"""Cards whose parts come and go: no line too many, none missing."""

from bot.texts import TEXT_MAX, render
from bot.texts.cards import CARDS

STANDING = {
    **{"stage": "collecting", "good": 0, "pending": 0, "min": 8, "wanted": 15},
    **{"training_stage": "", "fraction": 0.0, "eta_seconds": None, "ahead": 0},
}
STATUS = STANDING | {
    **{"trained_at": None, "shoots": [], "shoots_left": 40, "trainings_left": 4, "groups": 0},
}


def step(**changed: object) -> str:
    return render("hint", STANDING | changed)


def test_where_somebody_stands() -> None:
    assert "at least 8 good selfies; 15 is best" in step()
    assert "no good selfies so far, and I am looking at 2" in step(pending=2)
    assert "1 good selfie so far. For a training I need at least 7 more good selfies" in step(good=1)
    assert "at least 1 more good selfie;" in step(good=7)
    assert "enough to train" in step(good=8, stage="enough")
    assert "write /start" in step(stage="stranger")
    assert "model is ready" in step(stage="ready")
    running = {"stage": "training", "training_stage": "training", "fraction": 0.5, "eta_seconds": 30.0}
    assert "50 %, less than a minute left" in step(**running)


def test_no_part_leaves_a_hole() -> None:
    for text in (render("status", STATUS), render("status", STATUS | {"groups": 2, "trained_at": 1.0})):
        assert "\n\n\n" not in text
        assert text.count("\n\n") == 1
    card = render("training", STANDING | {"selfies": 9, "retraining": False, "training_stage": "queued"})
    assert "\n\n" not in card
    assert card.splitlines()[2] == "Next in line"


def test_selfies_that_are_deleted_at_once() -> None:
    text = render("training_finished", {"seconds": 0, "likeness": "", "hours": 0, "advice": []})
    assert "Your selfies are being deleted." in text
    assert text.startswith("Your model is ready.\n")


def test_every_card_says_what_it_is() -> None:
    assert all(card.__doc__ for card in CARDS.values())
    assert TEXT_MAX <= 2000
