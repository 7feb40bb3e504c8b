"""What a training photo is called."""

from dataclasses import replace

import numpy as np
import pytest

from engine.base_folder import BaseSettings
from engine.captions import caption, describe_selfie, glasses_vary, plain_caption
from engine.config import EngineConfig
from engine.crops import Framing
from engine.demo_base.attributes import Attributes
from engine.face_mesh import FaceMesh
from engine.faces import FaceModels
from tests import images
from tests.engine.facts import facts

SETTINGS = BaseSettings(trigger="sks")
SEEN = Attributes(
    person="woman", age="young", clothing="suit", clothing_colour="navy", background="plain",
    background_colour="grey", expression="smiling", glasses="glasses", light="soft light", monochrome=False,
)  # fmt: skip
HEAD = Framing.HEAD_AND_SHOULDERS


def test_everything_that_varies_is_said_and_the_face_is_not() -> None:
    said = caption(SETTINGS, SEEN, HEAD, glasses=True)
    assert said == (
        "photo of sks person, wearing a navy jacket, grey background, soft light, smiling, wearing glasses"
    )
    assert not {"woman", "young", "hair"} & set(said.replace(",", "").split())


@pytest.mark.parametrize(
    ("changes", "framing", "words", "silent"),
    [
        ({}, Framing.CLOSE_UP, "close up", "jacket"),
        ({"monochrome": True}, HEAD, "black and white", "close up"),
        ({"background": "flag"}, HEAD, "navy", "flag"),
        ({"background_colour": ""}, HEAD, "plain background", "grey"),
        ({"clothing_colour": ""}, HEAD, "wearing a jacket", "navy"),
        ({"clothing": ""}, HEAD, "grey background", "wearing a"),
    ],
)
def test_what_is_unsure_is_left_out(changes: dict, framing: Framing, words: str, silent: str) -> None:
    said = caption(SETTINGS, replace(SEEN, **changes), framing, glasses=False)
    assert words in said
    assert silent not in said
    assert "  " not in said


def test_a_photo_that_nobody_described_has_the_plain_caption() -> None:
    assert caption(SETTINGS, None, HEAD, glasses=True) == plain_caption(SETTINGS) == "photo of sks person"


def test_glasses_are_said_only_of_somebody_who_takes_them_off() -> None:
    without, unsure = replace(SEEN, glasses="no glasses"), replace(SEEN, glasses="")
    assert glasses_vary([SEEN, without])
    assert not glasses_vary([SEEN, SEEN, unsure])
    assert not glasses_vary([unsure])
    assert not glasses_vary([])


def test_a_real_selfie_is_described() -> None:
    picture = np.asarray(images.selfie())
    (face, *_) = FaceModels.load(EngineConfig()).find(picture)
    known = facts(
        0, 1, width_px=picture.shape[1], height_px=picture.shape[0], box=face.box, landmarks=face.landmarks
    )
    seen = describe_selfie(picture, known, FaceMesh())
    assert not seen.monochrome
    assert seen.clothing in {"suit", "blazer", "casual", ""}
    assert seen.glasses != "glasses"
    grey = np.repeat(picture.mean(-1, keepdims=True), 3, -1).astype(np.uint8)
    assert describe_selfie(grey, known, FaceMesh()).monochrome
