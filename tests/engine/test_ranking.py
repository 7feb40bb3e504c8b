"""Ranking: the most alike without a flaw first, what is unsafe never, and what the person said counts."""

import pytest

from engine.ranking import Flaw, Standard, choose, still_to_draw
from tests.engine.inspections import NO_FACE, PERSON, seen, towards

STANDARD = Standard(PERSON)


def test_a_good_picture_has_no_flaw() -> None:
    assert STANDARD.flaws(seen(0.6)) == ()
    assert STANDARD.likeness(seen(0.6)) == pytest.approx(0.6, abs=1e-4)


@pytest.mark.parametrize(
    ("picture", "flaw"),
    [
        (NO_FACE, Flaw.NO_FACE),
        (seen(alone=False), Flaw.SEVERAL_FACES),
        (seen(whole=False), Flaw.CUT_OFF),
        (seen(sharpness=0.001), Flaw.BLURRED),
        (seen(eyes_closed=0.5), Flaw.EYES_CLOSED),
        (seen(0.44), Flaw.UNLIKE),
        (seen(unsafe=0.6), Flaw.UNSAFE),
    ],
)
def test_each_flaw_is_found(picture, flaw: Flaw) -> None:
    assert STANDARD.flaws(picture) == (flaw,)


def test_the_best_come_first_and_those_with_a_flaw_last() -> None:
    pictures = {0: seen(0.5), 1: NO_FACE, 2: seen(0.7), 3: seen(0.9, sharpness=0.001), 4: seen(0.3)}
    choice = choose(pictures, 4, STANDARD)
    assert choice.chosen == (2, 0, 3, 4)
    assert (choice.tried, choice.reached) == (5, 2)
    assert choice.lacking == (Flaw.BLURRED, Flaw.UNLIKE)


def test_what_is_unsafe_is_never_chosen() -> None:
    choice = choose({0: seen(0.9, unsafe=0.9), 1: seen(0.5)}, 2, STANDARD)
    assert choice.chosen == (1,)
    assert choice.lacking == (Flaw.UNSAFE,)
    assert choose({0: seen(unsafe=0.9)}, 1, STANDARD).chosen == ()


def test_equal_pictures_keep_the_order_in_which_they_were_drawn() -> None:
    assert choose({2: seen(), 0: seen(), 1: seen()}, 3, STANDARD).chosen == (0, 1, 2)


def test_without_a_known_person_nothing_is_called_unlike() -> None:
    unknown = Standard(None)
    assert unknown.likeness(seen(0.1)) is None
    assert unknown.flaws(seen(0.1)) == ()
    assert choose({0: NO_FACE, 1: seen(0.1)}, 1, unknown).chosen == (1,)


def test_what_was_liked_or_not_changes_the_order_and_not_the_likeness() -> None:
    left = seen(0.6, identity=towards(0.6, direction=1))
    right = seen(0.6, identity=towards(0.6, direction=2))
    pictures = {0: left, 1: right}
    assert choose(pictures, 2, STANDARD).chosen == (0, 1)
    liked = Standard(PERSON, liked=[towards(0.6, direction=2)])
    disliked = Standard(PERSON, disliked=[towards(0.6, direction=1)])
    assert choose(pictures, 2, liked).chosen == (1, 0)
    assert choose(pictures, 2, disliked).chosen == (1, 0)
    assert liked.likeness(left) == disliked.likeness(right) == STANDARD.likeness(left)


def test_twice_as_many_as_asked_are_drawn_and_then_what_is_missing() -> None:
    good, bad = {n: seen() for n in range(8)}, dict.fromkeys(range(8), NO_FACE)
    assert still_to_draw({}, 4, 12, STANDARD) == 8
    assert still_to_draw({0: seen()}, 4, 12, STANDARD) == 7
    assert still_to_draw(good, 4, 12, STANDARD) == 0
    assert still_to_draw({**bad, 0: seen()}, 4, 12, STANDARD) == 3
    assert still_to_draw({**bad, 0: seen()}, 4, 9, STANDARD) == 1
    assert still_to_draw({**bad, **{8: NO_FACE}}, 4, 9, STANDARD) == 0
    assert still_to_draw({}, 4, 4, STANDARD) == 4
    assert still_to_draw(dict.fromkeys(range(4), NO_FACE), 4, 4, STANDARD) == 0
