"""The pictures that may be drawn for a shoot: their seeds, and what earlier ones have to do with them."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from engine.faces import Embedding
from engine.generator import Shot
from engine.likeness import pack_identity, unpack_identity

# A picture near one that is near one ...: deeper than this it is a sibling instead of a child.
MAX_LINEAGE = 6


@dataclass(frozen=True)
class Opinion:
    """A headshot that the person said something about. identity: None where it had no face."""

    seeds: tuple[int, ...]
    identity: Embedding | None

    def to_facts(self) -> dict[str, Any]:
        """As `Picture.facts` holds it."""
        return {"seeds": list(self.seeds), **pack_identity(self.identity)}

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Opinion":
        """Inverse of `to_facts`."""
        return cls(tuple(int(seed) for seed in facts.get("seeds", ())), unpack_identity(facts))


def candidates(
    prompt: str, seed: int, most: int, liked: Sequence[Opinion] = (), disliked: Sequence[Opinion] = ()
) -> dict[int, Shot]:
    """The shots of a shoot, in the order in which they are drawn; the same for the same request.

    Every other one lies near a picture that was liked, the latest first; none repeats one that was disliked.
    """
    parents = [opinion.seeds for opinion in reversed(liked) if opinion.seeds]
    never = {opinion.seeds for opinion in disliked}
    allowed = (seeds for seeds in _lineages(seed, parents) if seeds not in never)
    return {index: Shot(prompt, seeds) for index, seeds in enumerate(islice(allowed, most))}


def _lineages(seed: int, parents: Sequence[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    for index in count():
        own = picture_seed(seed, index)
        if parents and index % 2:
            parent = parents[(index // 2) % len(parents)]
            yield (*parent[: MAX_LINEAGE - 1], own)
        else:
            yield (own,)


def picture_seed(seed: int, index: int) -> int:
    """A seed of its own for each picture, 48 bits so that JSON carries it exactly."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{index}".encode()).digest()[:6], "big")
