"""How much a picture looks like its person: cosines of face embeddings, and what may be said of them.

SFace's false matches on 419 people (175,142 pairs of strangers): .195 % at a cosine of .363, which is
OpenCV's own threshold, .046 % at .40 and .0034 % at .45; of 109 pairs of truly different photos of one person
0, 2 and 6 lie under them. Chosen and measured on the same adults: nothing is claimed about children, nor that
the errors fall evenly.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from engine.faces import Embedding, similarity
from engine.inspection import FaceFound, Thumbnail, same_picture
from engine.photo_facts import PhotoFacts, pack_embedding

SAME_PERSON = 0.363
GOOD, STRONG = 0.40, 0.45
# Of what the person's own photos reach among themselves (median of pairs).
GOOD_SHARE, STRONG_SHARE = 0.5, 0.75
# See `same_picture` and `photo_sets`: nearer than this, and nearer than two of the person's own photos are to
# each other, is no new picture.
COPY_COSINE, COPY_CORRELATION = 0.92, 0.95
COPY_MARGIN = 0.02


@dataclass(frozen=True)
class Reference:
    """What generated pictures of a person are held against.

    held_out: embeddings of selfies that the training never saw. seen: those of the selfies that it did.
    thumbnails: of the selfies that it saw.
    """

    held_out: tuple[Embedding, ...]
    seen: tuple[Embedding, ...] = ()
    thumbnails: tuple[Thumbnail, ...] = ()

    @property
    def real_to_real(self) -> float:
        """How alike the person's own photos are: the median of held-out against seen; 0 without both."""
        pairs = [similarity(a, b) for a in self.held_out for b in self.seen]
        return float(np.median(pairs)) if pairs else 0.0

    def likeness(self, identity: Embedding) -> tuple[float, ...]:
        """Cosine to each held-out selfie."""
        return tuple(similarity(identity, other) for other in self.held_out)

    def is_copy(self, face: FaceFound) -> bool:
        """Whether the picture repeats a selfie of the training instead of showing the person anew."""
        nearest = max((similarity(face.identity, other) for other in self.seen), default=-1.0)
        closest = max((same_picture(face.thumbnail, other) for other in self.thumbnails), default=-1.0)
        cosine_limit, correlation_limit = self._limits
        return nearest > cosine_limit or closest > correlation_limit

    @cached_property
    def _limits(self) -> tuple[float, float]:
        """The nearest two of the person's own photos, by face and by picture, and a little more."""
        alike = max((similarity(a, b) for a, b in combinations(self.seen, 2)), default=-1.0)
        same = max((same_picture(a, b) for a, b in combinations(self.thumbnails, 2)), default=-1.0)
        return max(COPY_COSINE, alike + COPY_MARGIN), max(COPY_CORRELATION, same + COPY_MARGIN / 2)


def band(likeness: float, real_to_real: float) -> str:
    """strong, good or weak: what a mean cosine to held-out selfies amounts to for this person."""
    if likeness >= max(STRONG, STRONG_SHARE * real_to_real):
        return "strong"
    return "good" if likeness >= max(GOOD, GOOD_SHARE * real_to_real) else "weak"


def person_embedding(facts: Iterable[Mapping[str, Any]]) -> Embedding | None:
    """The centre of a person's selfies, length 1; None where no facts are usable."""
    found = []
    for values in facts:
        try:
            found.append(PhotoFacts.from_json(dict(values)).identity)
        except ValueError:
            continue
    return centre(found) if found else None


def centre(embeddings: Sequence[Embedding]) -> Embedding:
    """The mean, length 1."""
    mean: Embedding = np.mean(embeddings, axis=0).astype(np.float32)
    return mean / max(float(np.linalg.norm(mean)), 1e-9)


def pack_identity(embedding: Embedding | None) -> dict[str, str]:
    """An embedding as facts keep it."""
    return {} if embedding is None else {"identity": pack_embedding(embedding)}


def unpack_identity(facts: Mapping[str, Any]) -> Embedding | None:
    """Inverse of `pack_identity`; None where there is none."""
    packed = facts.get("identity")
    return np.frombuffer(base64.b64decode(packed), dtype="<f2").astype(np.float32) if packed else None
