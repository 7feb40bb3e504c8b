"""A person's photos judged together: which are copies, which show someone else, which are far darker than
the rest.

Pure: facts in, verdicts out. Any photo may change the verdict of any other, the first one's too.

Calibrated on 200 pictures of 11 synthetic people (faker-js assets-person-portrait, CC0; openpeople, MIT):
within a person two pictures have a cosine of .52-.87 and a picture and the centre of its set .71 or more (in
full profile .42 or more); another person and that centre .49 or less. Of 1,800 sets of 4, 8 or 14 pictures
with one stranger anywhere among them, three kept the stranger and none refused a picture of the person; with
two pictures beside the stranger 20 of 600 kept him. Pairs of truly different photos of one real person have
been seen down to .36, which is OpenCV's own threshold for a pair. All of these people are adults: nothing is
claimed about children, nor that the errors fall evenly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.faces import similarity
from engine.photo_facts import SOFT_PROBLEMS, PhotoFacts, Problem

ACCEPTED, DOUBTFUL, REFUSED = "accepted", "doubtful", "refused"

# A copy has a like perceptual hash (of 64 bits) and the same face. The hash alone would refuse other
# expressions before one plain wall: of 262 such pairs under 8 bits, 3 % have a cosine of .90 or more.
# Copies that were halved, enlarged, brightened or saved at quality 60 differ by 6 bits at most and lie
# above .90 in 98 % of cases.
MAX_COPY_BITS = 8
COPY_COSINE = 0.90
# A copy takes the place of an earlier one where its face is so much larger: the file after the chat's own
# copy.
STRONGER = 1.1
SAME_PERSON_PAIR = 0.363
# The mean of several pictures lies nearer to each of them than they lie to each other.
SAME_PERSON_CENTRE = 0.45
MIN_CENTRE_PHOTOS = 3
# One person in very different lights stays within 1.5 stops; darker than this and features drown.
MAX_STOPS_BELOW_SET = 2.2
MIN_LIGHT_PHOTOS = 5


@dataclass(frozen=True)
class Judgement:
    """accepted: no problem. doubtful: only such problems as the person may overrule. refused: any other."""

    verdict: str
    problems: tuple[Problem, ...] = ()

    @classmethod
    def of(cls, found: Sequence[Problem]) -> "Judgement":
        """The verdict that problems amount to; those that cannot be overruled come first."""
        problems = sorted(set(found), key=lambda code: (code in SOFT_PROBLEMS, list(Problem).index(code)))
        if not problems:
            return cls(ACCEPTED)
        return cls(DOUBTFUL if problems[0] in SOFT_PROBLEMS else REFUSED, tuple(problems))

    def to_json(self) -> dict[str, Any]:
        """As `PhotoChecked.verdicts` holds it."""
        return {"verdict": self.verdict, "problems": [str(problem) for problem in self.problems]}


def judge_set(photos: Mapping[str, PhotoFacts]) -> dict[str, Judgement]:
    """The verdict on every photo of a person's set, by photo id. `photos` is in order of arrival.

    Photos that are refused by themselves have no say about the others.
    """
    found = {photo_id: list(facts.problems) for photo_id, facts in photos.items()}
    sound = [photo_id for photo_id in photos if SOFT_PROBLEMS.issuperset(photos[photo_id].problems)]
    kept = _without_copies(sound, photos)
    for photo_id in set(sound) - set(kept):
        found[photo_id].append(Problem.DUPLICATE)
    strangers = _strangers(kept, photos)
    for photo_id in strangers:
        found[photo_id].append(Problem.SOMEONE_ELSE)
    for photo_id in _darker([photo_id for photo_id in kept if photo_id not in strangers], photos):
        found[photo_id].append(Problem.TOO_DARK)
    return {photo_id: Judgement.of(problems) for photo_id, problems in found.items()}


def _without_copies(ids: Sequence[str], photos: Mapping[str, PhotoFacts]) -> list[str]:
    kept: list[str] = []
    for photo_id in ids:
        copies = [at for at, twin in enumerate(kept) if _is_copy(photos[photo_id], photos[twin])]
        if not copies:
            kept.append(photo_id)
        elif _is_stronger(photos[photo_id], photos[kept[copies[0]]]):
            kept[copies[0]] = photo_id
    return kept


def _is_copy(photo: PhotoFacts, twin: PhotoFacts) -> bool:
    differing = (int(photo.phash, 16) ^ int(twin.phash, 16)).bit_count()
    return differing <= MAX_COPY_BITS and similarity(photo.identity, twin.identity) >= COPY_COSINE


def _is_stronger(photo: PhotoFacts, twin: PhotoFacts) -> bool:
    if len(photo.problems) != len(twin.problems):
        return len(photo.problems) < len(twin.problems)
    return photo.face_px > STRONGER * twin.face_px


def _strangers(ids: Sequence[str], photos: Mapping[str, PhotoFacts]) -> list[str]:
    """Those who are not the person that most of the photos show; with as many of each, the one who came
    first.

    The person is the photo that resembles most others, and those others. Each photo is measured against the
    rest
    of them: a look-alike would otherwise vouch for itself.
    """
    if len(ids) < 2:
        return []
    identities = np.stack([photos[photo_id].identity for photo_id in ids])
    alike = identities @ identities.T >= SAME_PERSON_PAIR
    person = alike[int(alike.sum(axis=1).argmax())]
    strangers = []
    for at, photo_id in enumerate(ids):
        rest = person & (np.arange(len(ids)) != at)
        threshold = SAME_PERSON_CENTRE if rest.sum() >= MIN_CENTRE_PHOTOS else SAME_PERSON_PAIR
        if rest.any() and similarity(identities[at], identities[rest].mean(axis=0)) < threshold:
            strangers.append(photo_id)
    return strangers


def _darker(ids: Sequence[str], photos: Mapping[str, PhotoFacts]) -> list[str]:
    """Photos far darker than this person's others: measured against the person, dark skin is no fault."""
    if len(ids) < MIN_LIGHT_PHOTOS:
        return []
    # sRGB's gamma is near enough to 2.2 to count stops of light.
    stops = {photo_id: 2.2 * float(np.log2(max(photos[photo_id].brightness, 1.0) / 255)) for photo_id in ids}
    usual = float(np.median(list(stops.values())))
    return [photo_id for photo_id in ids if stops[photo_id] < usual - MAX_STOPS_BELOW_SET]
