"""What a training photo is called: the trigger for the person, and words for everything that varies.

Whatever a caption says is not learned as the person's: clothes, background, light, expression, glasses, black
and white, framing. What it leaves out the trigger has to carry: the face, the hair, age and presentation.
The words are those that the small base was taught (`engine.demo_base.captions`) and that FLUX.1 reads too.
"""

from collections.abc import Iterable

import numpy as np

from engine.base_folder import BaseSettings
from engine.crops import Crop, Framing, cut_crop, plan_crops
from engine.demo_base.attributes import Attributes, describe
from engine.demo_base.measure import Measures
from engine.demo_base.portrait import Found
from engine.face_mesh import SIDE_PX, FaceMesh
from engine.faces import Face, Picture
from engine.photo_facts import PhotoFacts

CLOTHES = {"suit": "jacket", "blazer": "jacket", "casual": "casual top"}
# A flag behind a selfie is nearly always something else that is red and white.
BACKGROUNDS = {
    "plain": "background",
    "dark": "dark background",
    "outdoor": "outdoor background",
    "office": "indoor background",
}
FRAMINGS = {Framing.CLOSE_UP: "close up"}
# Glasses in more of the photos than this belong to the person.
ALWAYS = 0.9
# Neither is said, so neither is measured.
_NO_AGE, _NO_PRESENTATION = 45.0, 0.5


def describe_selfie(picture: Picture, facts: PhotoFacts, mesh: FaceMesh) -> Attributes:
    """Words for what is seen in the photo's head and shoulders; empty where a measure is unsure."""
    crop = _portrait(facts, (picture.shape[1], picture.shape[0]))
    square = cut_crop(picture, crop)
    face = Face(
        (*crop.place(facts.box[:2]), facts.box[2] * crop.scale, facts.box[3] * crop.scale),
        tuple(crop.place(point) for point in facts.landmarks),  # type: ignore[arg-type]
        facts.score,
    )
    points = mesh.points(square, face)
    expression = mesh.expression(points)
    measures = Measures(
        found=Found(face.box, np.array(face.landmarks, np.float32)),
        points=points,
        person=mesh.person(square),
        identity=facts.identity,
        smile=expression.smile,
        jaw_open=expression.jaw_open,
        age=_NO_AGE,
        woman=_NO_PRESENTATION,
    )
    return describe(square, measures)


def plain_caption(settings: BaseSettings) -> str:
    """The trigger and nothing else."""
    return settings.caption.replace("{subject}", settings.subject)


def caption(settings: BaseSettings, attributes: Attributes | None, framing: Framing, glasses: bool) -> str:
    """A photo's caption in one framing; `glasses`: whether they are worth saying (`glasses_vary`)."""
    if attributes is None:
        return plain_caption(settings)
    clothed = bool(attributes.clothing) and framing is not Framing.CLOSE_UP
    parts = [
        plain_caption(settings),
        "black and white" if attributes.monochrome else "",
        FRAMINGS.get(framing, ""),
        f"wearing a {attributes.clothing_colour} {CLOTHES[attributes.clothing]}" if clothed else "",
        _background(attributes),
        attributes.light,
        attributes.expression,
        "wearing glasses" if glasses and attributes.glasses == "glasses" else "",
    ]
    return ", ".join(" ".join(part.split()) for part in parts if part)


def glasses_vary(described: Iterable[Attributes]) -> bool:
    """Whether the person is seen with and without: glasses on every photo are the person's."""
    sure = [attributes.glasses == "glasses" for attributes in described if attributes.glasses]
    return bool(sure) and sum(sure) <= ALWAYS * len(sure)


def _background(attributes: Attributes) -> str:
    words = BACKGROUNDS.get(attributes.background, "")
    plain = attributes.background == "plain"
    return f"{attributes.background_colour or 'plain'} {words}" if plain else words


def _portrait(facts: PhotoFacts, size_px: tuple[int, int]) -> Crop:
    return plan_crops(facts, size_px, (SIDE_PX,), (Framing.HEAD_AND_SHOULDERS,), 1.0)[0]
