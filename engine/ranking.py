"""Which of the pictures that were drawn a person gets: what a headshot must not have, and which is better.

Pure: inspections in, an order out. A person's "Not me" and "More like this" move what is looked for towards
or away from those pictures' faces, as Rocchio's feedback does in text search (Salton and Buckley, 1990).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from engine.face_quality import MIN_SHARPNESS
from engine.faces import Embedding, similarity
from engine.inspection import Inspection
from engine.likeness import centre
from engine.photo_sets import SAME_PERSON_CENTRE
from engine.safety import MAX_UNSAFE

# Rocchio's usual weights: liked pictures count as much as all selfies, disliked ones less.
LIKED_WEIGHT, DISLIKED_WEIGHT = 0.75, 0.25
FLAW_COST = 0.1
# Of `FaceMesh`'s score. Over it lie 5 of 7 faces with closed or lowered lids, at 768 and 256 px alike, none
# of 176 with open eyes (openpeople's expressions, sorted by eye) and 2.4 percent of 247 portraits, most
# of which smile: there it costs a candidate.
CLOSED_EYES = 0.4
# Draw twice as many as asked before choosing: the better half is delivered.
FIRST_DRAW = 2


class Flaw(StrEnum):
    """Why a picture is not good enough. The codes are stable: the application has words for each."""

    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    CUT_OFF = "cut_off"
    BLURRED = "blurred"
    EYES_CLOSED = "eyes_closed"
    UNLIKE = "unlike"
    UNSAFE = "unsafe"


@dataclass(frozen=True)
class Standard:
    """What one person's headshots are held to.

    person: the centre of the selfies; None = nothing is known, and nothing is measured against it.
    liked, disliked: faces of earlier headshots.
    """

    person: Embedding | None
    liked: Sequence[Embedding] = ()
    disliked: Sequence[Embedding] = ()

    def likeness(self, seen: Inspection) -> float | None:
        """Cosine to the person, whatever was liked; None without a face or a person."""
        if seen.face is None or self.person is None:
            return None
        return round(similarity(seen.face.identity, self.person), 4)

    def flaws(self, seen: Inspection) -> tuple[Flaw, ...]:
        """Everything that is wrong with a picture."""
        unsafe = (Flaw.UNSAFE,) if seen.unsafe > MAX_UNSAFE else ()
        face, likeness = seen.face, self.likeness(seen)
        if face is None:
            return (Flaw.NO_FACE, *unsafe)
        wrong = {
            Flaw.SEVERAL_FACES: not face.alone,
            Flaw.CUT_OFF: not face.whole,
            Flaw.BLURRED: face.sharpness < MIN_SHARPNESS,
            Flaw.EYES_CLOSED: face.eyes_closed > CLOSED_EYES,
            # The centre is nearer to each picture than they are to each other: .45 is .40 between pictures.
            Flaw.UNLIKE: likeness is not None and likeness < SAME_PERSON_CENTRE,
        }
        return (*(flaw for flaw, is_so in wrong.items() if is_so), *unsafe)

    def score(self, seen: Inspection) -> float:
        """The higher, the better a headshot of this person."""
        cost = FLAW_COST * len(self.flaws(seen))
        if seen.face is None:
            return -1.0 - cost
        wanted = self._wanted()
        return (0.0 if wanted is None else similarity(seen.face.identity, wanted)) - cost

    def _wanted(self) -> Embedding | None:
        if self.person is None:
            return centre(self.liked) if self.liked else None
        wanted = self.person.copy()
        if self.liked:
            wanted += LIKED_WEIGHT * np.mean(self.liked, axis=0)
        if self.disliked:
            wanted -= DISLIKED_WEIGHT * np.mean(self.disliked, axis=0)
        return wanted


@dataclass(frozen=True)
class Choice:
    """The pictures to deliver, best first; how many were drawn, how many of the chosen reach the standard,
    and what the others lack."""

    chosen: tuple[int, ...]
    tried: int
    reached: int
    lacking: tuple[Flaw, ...]


def choose(seen: Mapping[int, Inspection], count: int, standard: Standard) -> Choice:
    """The best `count` by index: those without a flaw first. What is unsafe is never among them."""
    flaws = {index: standard.flaws(inspection) for index, inspection in seen.items()}
    order = sorted(
        (index for index in seen if Flaw.UNSAFE not in flaws[index]),
        key=lambda index: (bool(flaws[index]), -standard.score(seen[index]), index),
    )
    chosen = tuple(order[:count])
    short = (Flaw.UNSAFE,) if len(chosen) < count else ()
    lacking = [flaw for flaw in Flaw if any(flaw in flaws[index] for index in chosen)]
    return Choice(
        chosen,
        tried=len(seen),
        reached=sum(not flaws[index] for index in chosen),
        lacking=(*lacking, *short),
    )


def still_to_draw(seen: Mapping[int, Inspection], count: int, most: int, standard: Standard) -> int:
    """How many more are to be drawn before choosing; 0 = choose."""
    first = min(FIRST_DRAW * count, most)
    if len(seen) < first:
        return first - len(seen)
    missing = count - sum(not standard.flaws(inspection) for inspection in seen.values())
    return max(0, min(missing, most - len(seen)))
