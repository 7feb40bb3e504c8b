"""The look at a selfie: can it be decoded, is one good face in it, does it fit the person's others."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
from PIL import Image

from engine import face_quality as quality
from engine.config import EngineConfig
from engine.faces import Embedding, Face, FaceModels, Picture, cut, similarity
from engine.messages import CheckPhoto, PhotoChecked
from engine.photo_facts import PhotoFacts, Problem, pack_embedding
from engine.photo_files import PhotoLimits, PhotoRefused, load_photo, save_clean
from engine.photo_sets import Judgement, judge_set

__all__ = ["Judgement", "PhotoChecker", "PhotoFacts", "PhotoLimits", "Problem", "judge_set", "similarity"]

log = logging.getLogger(__name__)

# Whole faces score .86 or more (median .94) even in full profile. Of 330 portraits three scored less: one
# behind a hand and dark glasses (.64), one tilted by 35 degrees (.70), one turned away in sunglasses (.82).
FACE_SCORE, CLEAR_SCORE = 0.63, 0.78
# Another face counts where its side is at least this share of the main face's: passers-by do not.
RIVAL_SIDE = 0.5
# SFace looks at 112 px. A face of 160 px is a third of a training picture of 512 px; a smaller one would have
# to be enlarged. In a chat's own copy of a selfie, about 960 x 1280 px, the face has 340 to 480.
MIN_FACE_PX, GOOD_FACE_PX = 112, 160
# A sideways face scores .64 to .83, one upside down .85 to .91: below this the other ways up are tried too.
UPRIGHT_SCORE = 0.92
CLEARLY_BETTER = 0.05
HASH_SIDE_PX = 256


class PhotoChecker:
    """Holds the loaded models. For one thread at a time; it takes no pool but OpenCV's bounded one."""

    def __init__(self, config: EngineConfig, limits: PhotoLimits | None = None) -> None:
        """Raises FaceModelUnusable where a model file is missing or altered."""
        self._models = FaceModels.load(config)
        self._limits = limits or PhotoLimits()

    def check(self, request: CheckPhoto) -> PhotoChecked:
        """Look at one photo and at the set it joins; write its clean copy if it can be decoded.

        `verdicts` holds the whole set, not only what changed: a photo may have been taken back meanwhile.
        `facts` is `PhotoFacts.to_json()`, or empty where there is no face. `request.others` is in order of
        arrival. Raises OSError where the file cannot be read or the copy not be written.
        """
        begun = time.perf_counter()
        try:
            facts = self._look(request)
            photos = {**_known(request.others), request.photo_id: facts}
            verdicts, values = judge_set(photos), facts.to_json()
        except PhotoRefused as refusal:
            verdicts, values = {request.photo_id: Judgement.of([refusal.problem])}, {}
        return PhotoChecked(
            id=request.id,
            photo_id=request.photo_id,
            verdicts={photo_id: judgement.to_json() for photo_id, judgement in verdicts.items()},
            facts=values,
            milliseconds=round((time.perf_counter() - begun) * 1000, 1),
        )

    def embed(self, picture: Picture) -> Embedding | None:
        """Whose face the largest one of a picture is (RGB, uint8, 256 px and more); None without a face.

        Compare two with `similarity`.
        """
        return self._models.embed(picture)

    def _look(self, request: CheckPhoto) -> PhotoFacts:
        picture = load_photo(Path(request.path), self._limits)
        pixels, faces = self._upright(np.asarray(picture))
        save_clean(Image.fromarray(pixels), Path(request.clean_path))
        return self._measure(pixels, faces)

    def _upright(self, pixels: Picture) -> tuple[Picture, list[Face]]:
        """The picture turned so that its face is upright, for photos that lost the note of how they lie."""
        faces = self._models.find(pixels)
        if faces and _main(faces).score >= UPRIGHT_SCORE:
            return pixels, faces
        best, wanted = (pixels, faces), (_main(faces).score if faces else CLEAR_SCORE) + CLEARLY_BETTER
        for quarters in (1, 2, 3):
            turned: Picture = np.ascontiguousarray(np.rot90(pixels, quarters))
            found = self._models.find(turned)
            if found and _main(found).score >= wanted:
                best, wanted = (turned, found), _main(found).score
        return best

    def _measure(self, pixels: Picture, faces: list[Face]) -> PhotoFacts:
        """Raises PhotoRefused where there is no face."""
        if not faces or _main(faces).score < FACE_SCORE:
            raise PhotoRefused(Problem.NO_FACE)
        face = _main(faces)
        patch = cut(pixels, face)
        brightness, clipped = quality.light(patch)
        facts = PhotoFacts(
            width_px=pixels.shape[1],
            height_px=pixels.shape[0],
            box=_rounded(face).box,
            landmarks=_rounded(face).landmarks,
            score=round(face.score, 3),
            yaw_degrees=round(quality.yaw_degrees(face), 1),
            sharpness=round(quality.sharpness(patch), 5),
            brightness=round(brightness, 1),
            clipped=round(clipped, 3),
            phash=_perceptual_hash(pixels),
            embedding=pack_embedding(self._models.identity(patch)),
        )
        return facts.with_problems(_own_problems(facts, faces, quality.flatness(patch)))


def _main(faces: list[Face]) -> Face:
    """The face that the photo is of: the largest, where the detector is as sure of it."""
    return max(faces, key=lambda face: face.side_px * face.score**2)


def _own_problems(facts: PhotoFacts, faces: list[Face], flatness: float) -> list[Problem]:
    """What is wrong with a photo by itself."""
    main = _main(faces)
    rivals = [
        face
        for face in faces
        if face is not main and face.score >= CLEAR_SCORE and face.side_px >= RIVAL_SIDE * main.side_px
    ]
    dark, bright = facts.brightness < quality.MIN_BRIGHTNESS, facts.clipped > quality.MAX_CLIPPED
    found = {
        Problem.SEVERAL_FACES: bool(rivals),
        Problem.DRAWING: quality.is_drawn(flatness, facts.sharpness),
        Problem.FACE_TOO_SMALL: facts.face_px < MIN_FACE_PX,
        Problem.FACE_CUT_OFF: quality.is_cut_off(main, facts.width_px, facts.height_px),
        Problem.FACE_SMALL: MIN_FACE_PX <= facts.face_px < GOOD_FACE_PX,
        Problem.FACE_UNCLEAR: main.score < CLEAR_SCORE,
        Problem.BLURRED: facts.sharpness < quality.MIN_SHARPNESS,
        Problem.TOO_DARK: dark,
        Problem.TOO_BRIGHT: bright,
        Problem.PROFILE: abs(facts.yaw_degrees) > quality.MAX_YAW_DEGREES,
    }
    return [problem for problem, is_so in found.items() if is_so]


def _known(others: Mapping[str, Mapping[str, Any]]) -> dict[str, PhotoFacts]:
    """The set's other photos that have a face, in order of arrival."""
    known = {}
    for other_id, values in others.items():
        if values:
            try:
                known[other_id] = PhotoFacts.from_json(dict(values))
            except ValueError as error:  # written by another release: the photo stays as it was judged
                log.warning("facts_unreadable", extra={"photo_id": other_id, "problem": str(error)})
    return known


def _perceptual_hash(pixels: Picture) -> str:
    small = Image.fromarray(pixels).convert("L").reduce(max(max(pixels.shape[:2]) // HASH_SIDE_PX, 1))
    return str(imagehash.phash(small))


def _rounded(face: Face) -> Face:
    x, y, width, height = (round(value, 1) for value in face.box)
    first, second, third, fourth, fifth = ((round(px, 1), round(py, 1)) for px, py in face.landmarks)
    return Face((x, y, width, height), (first, second, third, fourth, fifth), face.score)
