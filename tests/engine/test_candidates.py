"""The shots of a shoot: the same for the same request, near what was liked, never what was not."""

import json

import numpy as np

from engine.candidates import MAX_LINEAGE, Opinion, candidates
from tests.engine.inspections import PERSON


def opinion(*seeds: int) -> Opinion:
    return Opinion(seeds, PERSON)


def test_the_same_request_has_the_same_shots_and_another_seed_others() -> None:
    first = candidates("photo", 7, 4)
    assert first == candidates("photo", 7, 4)
    assert list(first) == [0, 1, 2, 3]
    assert len({shot.seeds for shot in first.values()}) == 4
    assert not {s.seeds for s in first.values()} & {s.seeds for s in candidates("photo", 8, 4).values()}
    assert dict(list(candidates("photo", 7, 9).items())[:4]) == first, "more are drawn after those"
    assert all(seed < 2**48 for shot in first.values() for seed in shot.seeds)


def test_every_other_one_lies_near_what_was_liked_the_latest_first() -> None:
    shots = candidates("photo", 7, 6, liked=[opinion(1), opinion(2, 3)])
    assert [shot.seeds[:-1] for shot in shots.values()] == [(), (2, 3), (), (1,), (), (2, 3)]
    plain = candidates("photo", 7, 6)
    assert [shot.seeds[-1] for shot in shots.values()] == [shot.seeds[-1] for shot in plain.values()]


def test_a_long_line_of_likes_does_not_grow_for_ever() -> None:
    deep = opinion(*range(MAX_LINEAGE))
    assert len(candidates("photo", 7, 2, liked=[deep])[1].seeds) == MAX_LINEAGE


def test_what_was_disliked_is_not_drawn_again() -> None:
    first = candidates("photo", 7, 3)
    again = candidates("photo", 7, 3, disliked=[Opinion(first[1].seeds, None)])
    assert list(again) == [0, 1, 2]
    assert [shot.seeds for shot in again.values()] == [
        first[0].seeds, first[2].seeds, candidates("photo", 7, 4)[3].seeds,
    ]  # fmt: skip


def test_an_opinion_comes_back_from_its_facts() -> None:
    back = Opinion.of(json.loads(json.dumps(opinion(1, 2).to_facts())))
    assert back.seeds == (1, 2)
    assert float(np.dot(back.identity, PERSON)) > 0.999
    assert Opinion.of(Opinion((5,), None).to_facts()) == Opinion((5,), None)
    assert Opinion.of({}) == Opinion((), None)
