"""Facts go to the application and come back whole, or not at all."""

import json

import numpy as np
import pytest

from engine.photo_facts import PhotoFacts, Problem, pack_embedding
from tests.engine.facts import facts


def test_facts_survive_json():
    photo = facts(0, 1, problems=(Problem.BLURRED,))
    again = PhotoFacts.from_json(json.loads(json.dumps(photo.to_json())))
    assert again == photo
    assert float(again.identity @ again.identity) == pytest.approx(1, abs=0.002)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 99},
        {"embedding": "AAAA"},
        {"embedding": "?"},
        {"phash": "xyz"},
        {"box": [1, 2]},
        {"problems": ["unheard_of"]},
        {"surplus": 1},
        {"landmarks": None},
    ],
)
def test_other_facts_are_refused(change):
    with pytest.raises(ValueError):
        PhotoFacts.from_json({**facts(0, 1).to_json(), **change})


def test_packing_hardly_moves_an_embedding():
    rng = np.random.default_rng(5)
    for _ in range(20):
        a, b = (row / np.linalg.norm(row) for row in rng.normal(size=(2, 128)).astype(np.float32))
        packed = (
            facts(0, 1, embedding=pack_embedding(a)).identity
            @ facts(0, 1, embedding=pack_embedding(b)).identity
        )
        assert packed == pytest.approx(float(a @ b), abs=0.001)


def test_the_codes_are_what_the_application_has_sentences_for():
    """A code that is renamed loses its sentence, and photos judged by an older release their meaning."""
    assert {str(code) for code in Problem} == {
        "unreadable",
        "wrong_format",
        "empty",
        "file_too_large",
        "too_many_pixels",
        "animated",
        "image_too_small",
        "no_face",
        "several_faces",
        "drawing",
        "face_too_small",
        "face_cut_off",
        "duplicate",
        "someone_else",
        "face_small",
        "face_unclear",
        "blurred",
        "too_dark",
        "too_bright",
        "profile",
    }
