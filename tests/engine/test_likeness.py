"""Likeness: bands that can be defended, and copies told from new pictures of the person."""

from pathlib import Path

import numpy as np
import pytest

from engine.config import EngineConfig
from engine.likeness import Reference, band, pack_identity, person_embedding, unpack_identity
from engine.messages import CheckPhoto
from engine.photos import PhotoChecker
from tests.engine.inspections import PERSON, seen, thumbnail, towards

PHOTOS = sorted((Path(__file__).parent.parent / "data").glob("other_*.jpg"))[:3]


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder, checker = tmp_path_factory.mktemp("clean"), PhotoChecker(EngineConfig())
    requests = [CheckPhoto(p.stem, p.stem, str(p), str(folder / f"{p.stem}.jpg")) for p in PHOTOS]
    return [checker.check(request).facts for request in requests]


def test_a_person_is_the_centre_of_the_selfies(facts: list[dict]) -> None:
    person = person_embedding(facts)
    assert person is not None
    assert float(np.linalg.norm(person)) == pytest.approx(1)
    back = unpack_identity(pack_identity(person))
    assert float(np.dot(back, person)) > 0.999


def test_without_usable_facts_there_is_nothing_to_compare_with() -> None:
    assert person_embedding([{}, {"version": 99}]) is None
    assert pack_identity(None) == {}
    assert unpack_identity({}) is None


def test_a_band_asks_for_a_cosine_that_strangers_do_not_reach() -> None:
    assert [band(value, 0.0) for value in (0.39, 0.40, 0.44, 0.45)] == ["weak", "good", "good", "strong"]


def test_a_band_asks_for_more_of_a_person_whose_photos_are_more_alike() -> None:
    assert [band(value, 0.8) for value in (0.41, 0.59, 0.61)] == ["good", "good", "strong"]
    assert band(0.41, 0.9) == "weak"


def test_likeness_is_to_each_held_out_selfie() -> None:
    reference = Reference(held_out=(PERSON, towards(0.5)), seen=(towards(0.8),))
    assert reference.likeness(PERSON) == pytest.approx((1.0, 0.5))
    assert reference.real_to_real == pytest.approx(np.median([0.8, 0.4 + 0.6 * np.sqrt(0.75)]), abs=1e-5)
    assert Reference(()).real_to_real == 0


def test_a_face_nearer_to_a_selfie_than_selfies_are_to_each_other_is_a_copy() -> None:
    far_apart = Reference((PERSON,), seen=(towards(0.7, 1), towards(0.7, 2)))
    assert far_apart.is_copy(seen(identity=towards(0.7, 1)).face)
    assert not far_apart.is_copy(seen(identity=PERSON).face)
    series = Reference((PERSON,), seen=(towards(0.99, 1), towards(0.99, 2)))
    assert not series.is_copy(seen(identity=PERSON).face), "such are this person's own photos"


def test_the_same_pixels_are_a_copy_whoever_the_network_sees() -> None:
    reference = Reference((PERSON,), seen=(PERSON,), thumbnails=(thumbnail(1), thumbnail(2)))
    copy = np.roll(thumbnail(2), 2, axis=1) // 2
    assert reference.is_copy(seen(0.1, thumbnail=copy).face)
    assert not reference.is_copy(seen(0.1, thumbnail=thumbnail(3)).face)
    assert not Reference((PERSON,)).is_copy(seen(1.0).face)
