"""Captions in a fixed grammar: `photo of a woman, wearing a navy blazer, grey background, smiling`."""

from dataclasses import replace
from random import Random

from engine.demo_base.attributes import Attributes
from engine.demo_base.vocabulary import TRIGGERS

OPENINGS = ("photo of", "headshot of", "portrait of", "professional headshot of", "studio portrait of")
CLOTHES = {
    "suit": ("suit", "suit and tie", "business suit", "jacket and shirt"),
    "blazer": ("blazer", "jacket", "business jacket", "suit"),
    "casual": ("casual shirt", "sweater", "casual top", "shirt"),
}
BACKGROUNDS = {
    "plain": ("studio background", "plain background", "backdrop", "background"),
    "dark": ("dark studio background", "black background, low key", "dark backdrop"),
    "flag": ("american flag background", "flag in the background"),
    "outdoor": ("outdoor background", "outdoors, park background", "blurred outdoor background, daylight"),
    "office": ("office background", "blurred office background", "indoor office background"),
}


def studio(attributes: Attributes, kind: str, colour: str) -> Attributes:
    """The same person before another background."""
    return replace(attributes, background=kind, background_colour=colour)


def caption(attributes: Attributes, random: Random, trigger: bool = False) -> str:
    """One caption; each thing that could be said is left out now and then. With `trigger`, a rare word
    comes before `person`, and age and presentation are mostly left out: they are the trigger's to know."""
    parts = [
        *_clothing(attributes, random),
        *_background(attributes, random),
        *([attributes.light] if attributes.light and random.random() < 0.6 else []),
        *([attributes.expression] if attributes.expression and random.random() < 0.75 else []),
        *_glasses(attributes, random),
    ]
    random.shuffle(parts)
    if attributes.monochrome and random.random() < 0.95:
        parts.insert(0, random.choice(("black and white", "monochrome")))
    return ", ".join([f"{random.choice(OPENINGS)} {_subject(attributes, random, trigger)}", *parts])


def _subject(attributes: Attributes, random: Random, trigger: bool) -> str:
    if trigger:
        noun = attributes.person if random.random() < 0.2 else "person"
        return f"{random.choice(TRIGGERS)} {noun}"
    noun = attributes.person if random.random() < 0.85 else "person"
    age = f"{attributes.age} " if attributes.age and random.random() < 0.7 else ""
    return f"{'an' if age.startswith('o') else 'a'} {age}{noun}"


def _clothing(attributes: Attributes, random: Random) -> list[str]:
    if not attributes.clothing or random.random() < 0.12:
        return []
    garment = random.choice(CLOTHES[attributes.clothing])
    colour = f"{attributes.clothing_colour} " if attributes.clothing_colour and random.random() < 0.85 else ""
    return [f"wearing a {colour}{garment}"]


def _background(attributes: Attributes, random: Random) -> list[str]:
    if not attributes.background or random.random() < 0.1:
        return []
    words = random.choice(BACKGROUNDS[attributes.background])
    coloured = attributes.background == "plain" and attributes.background_colour
    return [f"{attributes.background_colour} {words}" if coloured else words]


def _glasses(attributes: Attributes, random: Random) -> list[str]:
    if attributes.glasses == "glasses":
        return ["wearing glasses"] if random.random() < 0.9 else []
    return ["no glasses"] if attributes.glasses and random.random() < 0.15 else []
