"""How often a training sees each selfie: good ones and rare poses and lights more often, within limits.

Fifteen selfies are mostly the same look into the same camera. Seen equally often, that one look is what an
adapter learns.
"""

from collections.abc import Sequence

import numpy as np

from engine.face_quality import MIN_SHARPNESS
from engine.photo_facts import PhotoFacts
from engine.selfies import Selfie, look

# A selfie is seen at most twice as often as another that is as rare, and at most twice as often as one that
# is as good: nothing is left out here, for that is the check's to decide.
LEAST = 0.5
# Twice the least sharp face that passes the check is sharp enough; 200 px of face are enough for any crop.
ENOUGH_SHARPNESS, ENOUGH_FACE_PX = 2 * MIN_SHARPNESS, 200.0


def photo_weights(selfies: Sequence[Selfie]) -> dict[str, float]:
    """Weights by key, 1 on average. A selfie of which nothing is known counts as the worst and commonest."""
    known = {selfie.key: selfie.facts for selfie in selfies if selfie.facts is not None}
    rarity = _rarity(known)
    raw = {
        selfie.key: (quality(selfie.facts) if selfie.facts else LEAST) * rarity.get(selfie.key, LEAST)
        for selfie in selfies
    }
    mean = sum(raw.values()) / max(1, len(raw))
    return {key: value / mean for key, value in raw.items()}


def quality(facts: PhotoFacts) -> float:
    """LEAST to 1: sharp, large enough, and without a problem."""
    seen = min(facts.sharpness / ENOUGH_SHARPNESS, facts.face_px / ENOUGH_FACE_PX, 1.0)
    return LEAST + (1 - LEAST) * max(seen, 0.0) * (LEAST if facts.problems else 1.0)


def _rarity(photos: dict[str, PhotoFacts]) -> dict[str, float]:
    """LEAST to 1 by how few others look alike, in pose, light and distance."""
    looks = {key: look(facts) for key, facts in photos.items()}
    crowds = {
        key: sum(float(np.exp(-np.sum((own - other) ** 2))) for other in looks.values())
        for key, own in looks.items()
    }
    smallest = min(crowds.values(), default=1.0)
    return {key: max(LEAST, (smallest / crowd) ** 0.5) for key, crowd in crowds.items()}
