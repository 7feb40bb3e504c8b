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
    assert "1 good selfie so far. To train your model I need at least 7 more good selfies" in step(good=1)
    assert "at least 1 more good selfie;" in step(good=7)
    assert "You have 6 good selfies so far, and I am looking at 5 more." in step(good=6, pending=5)
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


def done(**changed: object) -> str:
    values = {"wish": "LinkedIn", "count": 4, "tried": 12, "reached": 0, "lacking": ["blurred"]}
    return render("shoot_done", values | changed)


def test_what_headshots_lack_agrees_in_number() -> None:
    assert done() == "Here you are: LinkedIn.\nThe best 4 of 12; none is quite sharp.\n\nWhat next?"
    assert "The best 4 of 12; 1 of them is not quite sharp." in done(reached=3)
    assert "The best 4 of 12; 2 of them are not quite sharp." in done(reached=2)
    assert "The best of 3; it may have closed eyes." in done(count=1, tried=3, lacking=["eyes_closed"])
    both = ["cut_off", "unlike"]
    assert "it has the head cut off and looks less like you than it should." in done(count=1, lacking=both)
    assert "none is quite right: some have the head cut off and some look less" in done(lacking=both)
    assert "2 of them are not quite right: some have" in done(reached=2, lacking=both)


def test_headshots_that_lack_nothing_need_no_more_words() -> None:
    assert done(reached=4, lacking=[]) == "Here you are: LinkedIn. What next?"
    assert "The best" not in done(lacking=["unsafe"])


def test_one_piece_of_advice_is_a_sentence_and_several_are_a_list() -> None:
    def advised(*codes: str) -> str:
        return render("training_finished", {"seconds": 0, "likeness": "", "hours": 24, "advice": codes})

    one = advised("daylight", "of_tomorrow")
    assert "To make it better, send selfies in daylight, with your face to a window. Then train again." in one
    assert "\n• closer selfies" in advised("daylight", "closer")
    assert "better" not in advised()


def test_what_is_left_out_of_a_wish_agrees_in_number() -> None:
    def card(*unknown: str) -> str:
        return render("shoot", {"count": 4, "wish": "LinkedIn", "most": 0, "unknown": unknown})

    assert card("dragon").endswith("; I left it out.")
    assert card("dragon", "moon").endswith("; I left them out.")
    assert card() == "Making 4 headshots: LinkedIn"


def test_every_card_says_what_it_is() -> None:
    assert all(card.__doc__ for card in CARDS.values())
    assert TEXT_MAX <= 2000
