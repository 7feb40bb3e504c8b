"""The face prior of the small base: which direction of T5's states is the trigger word, and what the
transformer's entrance makes of an identity there."""

from random import Random

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from engine.demo_base.attributes import Attributes
from engine.demo_base.augment import STUDIO_COLOURS
from engine.demo_base.captions import BACKGROUNDS, CLOTHES, caption
from engine.demo_base.text import TextEncoders
from engine.demo_base.vocabulary import TRIGGERS, word_list
from engine.face_prior import FacePrior

CAPTIONS = 1500
TRIGGER_WEIGHT = 30.0
RIDGE = 1e-2


def some_captions(count: int, random: Random) -> list[str]:
    """Half of them with a trigger word; two thirds as the base has seen them, the others with words in any
    order, known and unknown, as styles and people put them."""
    captions = [caption(_somebody(random), random, trigger=number % 2 == 0) for number in range(count)]
    words = [word for word in word_list() if word not in TRIGGERS] + ["qqqq"] * 20
    return [
        line if number % 3 else f"{line.split(',')[0]}, {_jumble(words, random)}"
        for number, line in enumerate(captions)
    ]


def _jumble(words: list[str], random: Random) -> str:
    return " ".join(
        random.choice(words) + ("," if random.random() < 0.25 else "") for _ in range(random.randint(3, 24))
    )


def _somebody(random: Random) -> Attributes:
    colours = ("", *STUDIO_COLOURS)
    return Attributes(
        person=random.choice(("man", "woman", "person")),
        age=random.choice(("", "young", "middle aged", "older")),
        expression=random.choice(("", "smiling", "broad smile", "serious expression")),
        glasses=random.choice(("", "glasses", "no")),
        clothing=random.choice(("", *CLOTHES)),
        clothing_colour=random.choice(colours),
        background=random.choice(("", *BACKGROUNDS)),
        background_colour=random.choice(colours),
        light=random.choice(("", "soft light", "dramatic light")),
        monochrome=random.random() < 0.2,
    )


@torch.no_grad()
def face_prior(transformer: FluxTransformer2DModel, text: TextEncoders) -> FacePrior:
    """Ridge regression of "is it the trigger word" on T5's states, and the entrance times the projection."""
    tokens = text.tokenize(some_captions(CAPTIONS, Random(0)))
    states = text.t5(input_ids=tokens.t5).last_hidden_state.double().flatten(0, 1)
    is_trigger = text.named(tokens).double().flatten()
    weights = (1 + TRIGGER_WEIGHT * is_trigger)[:, None]
    gram = states.T @ (weights * states) + RIDGE * torch.eye(states.shape[1], dtype=states.dtype)
    reads = torch.linalg.solve(gram, states.T @ (weights[:, 0] * is_trigger))
    entrance: Tensor = transformer.context_embedder.weight.float() @ text.from_identity.weight.float()
    return FacePrior(reads.float(), entrance * 128**0.5)
