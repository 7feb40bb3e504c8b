"""Makes the facts of photos that nobody took."""

import numpy as np

from engine.photo_facts import PhotoFacts, pack_embedding

NUM_PEOPLE = 4


def facts(person: int, shot: int, **changes) -> PhotoFacts:
    """A photo of person 0 to 3: two shots of one person have a cosine of .6, two people one of 0."""
    rng = np.random.default_rng([person, shot])
    embedding = np.zeros(128, np.float32)
    embedding[person] = np.sqrt(0.6)
    own = rng.normal(size=128 - NUM_PEOPLE)
    embedding[NUM_PEOPLE:] = own / np.linalg.norm(own) * np.sqrt(0.4)
    values: dict = {
        "width_px": 960,
        "height_px": 1280,
        "box": (300.0, 400.0, 300.0, 400.0),
        "landmarks": ((380.0, 520.0), (520.0, 520.0), (450.0, 600.0), (400.0, 680.0), (500.0, 680.0)),
        "score": 0.94,
        "yaw_degrees": 3.0,
        "sharpness": 0.02,
        "brightness": 190.0,
        "clipped": 0.0,
        "phash": rng.bytes(8).hex(),
        "embedding": pack_embedding(embedding),
    }
    return PhotoFacts(**{**values, **changes})
