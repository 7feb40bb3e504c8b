"""A set judged together: copies, strangers, light; the first photo may be the odd one."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.faces import similarity
from engine.photo_facts import SOFT_PROBLEMS, PhotoFacts, Problem, pack_embedding
from engine.photo_sets import Judgement, judge_set
from tests.engine.facts import NUM_PEOPLE, facts


def problems(photos: dict[str, PhotoFacts]) -> dict[str, list[str]]:
    return {
        key: [str(code) for code in judged.problems]
        for key, judged in judge_set(photos).items()
        if judged.problems
    }


def test_one_photo_and_one_person_are_accepted():
    assert judge_set({}) == {}
    assert judge_set({"a": facts(0, 1)}) == {"a": Judgement("accepted")}
    assert problems({f"{shot}": facts(0, shot) for shot in range(15)}) == {}


@pytest.mark.parametrize("place", [0, 1, 4, 8])
def test_a_stranger_is_found_wherever_he_stands(place):
    photos = [facts(0, shot) for shot in range(8)]
    photos.insert(place, facts(1, 1))
    assert problems({f"{at}": photo for at, photo in enumerate(photos)}) == {f"{place}": ["someone_else"]}


def test_a_look_alike_does_not_vouch_for_itself():
    """Just like enough to each photo to be counted in, but not to what they have in common."""
    embedding = np.zeros(128, np.float32)
    embedding[0], embedding[3] = 0.478, 0.878
    look_alike = facts(3, 1, embedding=pack_embedding(embedding))
    photos = {f"{shot}": facts(0, shot) for shot in range(4)}
    assert similarity(look_alike.identity, photos["0"].identity) > 0.363
    assert problems({**photos, "sister": look_alike}) == {"sister": ["someone_else"]}


def test_the_first_photo_is_found_to_be_the_odd_one_later():
    two = {"friend": facts(1, 1), "me": facts(0, 1)}
    assert problems(two) == {"me": ["someone_else"]}
    assert problems({**two, "me again": facts(0, 2)}) == {"friend": ["someone_else"]}


def test_of_two_people_with_as_many_photos_the_first_counts():
    photos = {"a1": facts(0, 1), "b1": facts(1, 1), "b2": facts(1, 2), "a2": facts(0, 2)}
    assert set(problems(photos)) == {"b1", "b2"}


def test_fifteen_different_people_are_not_a_set():
    photos = {f"{at}": facts(at, at) for at in range(NUM_PEOPLE)}
    assert set(problems(photos)) == {"1", "2", "3"}


def test_copies_of_a_stranger_do_not_outvote_the_person():
    stranger = facts(1, 1)
    photos = {"x": stranger, "y": stranger, "z": stranger, "a": facts(0, 1), "b": facts(0, 2)}
    found = problems(photos)
    assert found == {"x": ["someone_else"], "y": ["duplicate"], "z": ["duplicate"]}


def test_photos_refused_by_themselves_have_no_vote():
    small = [facts(1, shot, problems=(Problem.FACE_TOO_SMALL,)) for shot in range(3)]
    photos = {f"small {at}": photo for at, photo in enumerate(small)} | {"a": facts(0, 1), "b": facts(0, 2)}
    judged = judge_set(photos)
    assert {key for key, judgement in judged.items() if judgement.verdict == "accepted"} == {"a", "b"}
    assert judged["small 1"].problems == (Problem.FACE_TOO_SMALL,)


def test_the_same_photo_twice():
    assert problems({"a": facts(0, 1), "b": facts(0, 1), "c": facts(0, 2)}) == {"b": ["duplicate"]}


def test_the_stronger_copy_is_kept():
    chat_copy = facts(0, 1)
    as_file = dataclasses.replace(chat_copy, box=(600.0, 800.0, 600.0, 800.0))
    assert problems({"chat": chat_copy, "file": as_file}) == {"chat": ["duplicate"]}
    assert problems({"file": as_file, "chat": chat_copy}) == {"chat": ["duplicate"]}
    blurred = dataclasses.replace(as_file, problems=(Problem.BLURRED,))
    assert problems({"blurred": blurred, "sharp": chat_copy})["blurred"] == ["duplicate", "blurred"]


def test_a_like_background_alone_makes_no_copy():
    wall = "00ff00ff00ff00ff"
    assert problems({"a": facts(0, 1, phash=wall), "b": facts(0, 2, phash=wall)}) == {}


def test_a_photo_far_darker_than_the_person_s_others_is_doubtful():
    photos = {f"{shot}": facts(0, shot, brightness=180.0) for shot in range(6)}
    photos["dark"] = facts(0, 7, brightness=60.0)
    assert problems(photos) == {"dark": ["too_dark"]}
    assert judge_set(photos)["dark"].verdict == "doubtful"
    photos = {key: dataclasses.replace(photo, brightness=70.0) for key, photo in photos.items()}
    assert problems(photos) == {}


def test_hard_problems_come_first_and_decide():
    judged = Judgement.of([Problem.PROFILE, Problem.FACE_CUT_OFF, Problem.BLURRED])
    assert judged == Judgement("refused", (Problem.FACE_CUT_OFF, Problem.BLURRED, Problem.PROFILE))
    assert Judgement.of([Problem.FACE_SMALL]).verdict == "doubtful"


shots = st.lists(
    st.tuples(
        st.integers(0, NUM_PEOPLE - 1), st.integers(0, 4), st.sets(st.sampled_from(list(Problem)), max_size=2)
    ),
    max_size=12,
)


@given(shots)
def test_whatever_the_set_every_photo_is_judged_once(drawn):
    photos = {
        f"{at}": facts(person, shot, problems=tuple(sorted(own)))
        for at, (person, shot, own) in enumerate(drawn)
    }
    judged = judge_set(photos)
    assert list(judged) == list(photos)
    assert judge_set(photos) == judged
    sound = [key for key, photo in photos.items() if SOFT_PROBLEMS.issuperset(photo.problems)]
    # Somebody is always the person; nobody is refused for being alone.
    assert not sound or any(judged[key].verdict != "refused" for key in sound)
    for key, photo in photos.items():
        assert set(photo.problems) <= set(judged[key].problems)
