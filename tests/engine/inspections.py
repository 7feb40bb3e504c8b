"""Makes inspections of pictures that nobody drew."""

import numpy as np

from engine.faces import Embedding
from engine.inspection import FaceFound, Inspection, Thumbnail

SIDE = 40


def towards(cosine: float, direction: int = 1) -> Embedding:
    """An embedding with that cosine to the person of these tests, who is the first axis."""
    embedding = np.zeros(128, np.float32)
    embedding[0], embedding[direction] = cosine, np.sqrt(1 - cosine**2)
    return embedding


PERSON = towards(1.0)


def thumbnail(seed: int) -> Thumbnail:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8))
    return np.kron(coarse, np.ones((5, 5))).astype(np.uint8)


def seen(cosine: float = 0.6, *, unsafe: float = 0.0, backdrop: float = 0.5, **changes) -> Inspection:
    values: dict = {
        "identity": towards(cosine),
        "alone": True,
        "whole": True,
        "sharpness": 0.02,
        "eyes_closed": 0.1,
        "thumbnail": thumbnail(0),
    }
    return Inspection(FaceFound(**{**values, **changes}), unsafe, backdrop)


NO_FACE = Inspection(None, 0.0, 0.5)
