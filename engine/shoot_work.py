"""A shoot as work: draw more pictures than asked, look at each, deliver the best, and delete the others.

What was drawn lies on disk until the choice is made, so that a shoot that was interrupted draws only what is
missing and chooses the same.
"""

import hashlib
import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.candidates import Opinion, candidates
from engine.durable_files import write_atomically
from engine.errors import AdapterCorrupt, NothingToShow
from engine.generator import Drawing, Frame, Shot
from engine.inspection import Inspection, Inspector
from engine.likeness import unpack_identity
from engine.lora import Adapter
from engine.merging import Holder
from engine.messages import HeadshotsMade, MakeHeadshots, Picture, Progress, Reply
from engine.models import Base
from engine.pictures import Finish, Pixels, read_picture, write_lossless
from engine.ranking import Choice, Standard, choose, still_to_draw
from engine.scheduler import Kind
from engine.shelf import AdapterShelf
from engine.work import Pace, Work


class ShootWork(Work):
    """One request for headshots."""

    kind = Kind.SHOOT

    def __init__(
        self,
        request: MakeHeadshots,
        base: Base,
        slot: Holder,
        shelf: AdapterShelf,
        inspector: Inspector,
        finish: Finish,
        candidates_per_headshot: int = 1,
    ) -> None:
        """`base` and `slot` go together: what holds the adapter is what is asked. `finish` brings a chosen
        picture to its file, whole or absent."""
        super().__init__(request.id, request.person_id)
        self._request, self._base, self._slot, self._shelf = request, base, slot, shelf
        self._inspector, self._finish = inspector, finish
        settings = base.settings
        side = settings.picture_px
        self._frame = Frame(side, side, settings.num_inference_steps, settings.guidance)
        self._liked = [Opinion.of(facts) for facts in request.liked]
        self._disliked = [Opinion.of(facts) for facts in request.disliked]
        self._shots = candidates(
            request.prompt.replace("{subject}", settings.subject),
            request.seed,
            request.count * candidates_per_headshot,
            self._liked,
            self._disliked,
        )
        self._out = Path(request.out_dir)
        self._name = _fingerprint(request, self._shots)
        self._drawn, self._result = self._out / f"{self._name}-drawn", self._out / f"{self._name}.json"
        self._made = self._made_before()
        self._seen: dict[int, Inspection] = {}
        self._drawing: Drawing | None = None
        self._choice: Choice | None = None
        self._pace = Pace()
        self._done, self._fraction = 0, 0.0  # quanta

    def checkpoint(self) -> None:
        """What was drawn is on disk already, and the rest is a matter of seconds."""

    def close(self) -> None:
        """Nothing is written behind its back."""

    def quantum(self) -> Reply:
        """See `Work.quantum`."""
        request = self._request
        adapter = self._shelf.get(request.adapter_id, Path(request.adapter_path))
        if adapter.info.person_id != request.person_id:
            raise AdapterCorrupt(request.adapter_path, "belongs to another person")
        if self._made is not None:
            return self._made
        standard = self._standard(adapter)
        if self._choice is None and not self._draw(adapter, standard):
            return self._progress()
        if self._choice is None:
            self._choice = choose(self._seen, request.count, standard)
        if not self._choice.chosen:
            shutil.rmtree(self._drawn, ignore_errors=True)
            raise NothingToShow(self._choice.tried)
        for place, index in enumerate(self._choice.chosen):
            if not self._path(place).is_file():
                self._finish(self._path(place), read_picture(self._drawn_path(index)))
                self._done += 1
                return self._progress()
        return self._close(self._choice, standard)

    def _standard(self, adapter: Adapter) -> Standard:
        def faces(opinions: list[Opinion]) -> list[Any]:
            return [opinion.identity for opinion in opinions if opinion.identity is not None]

        return Standard(unpack_identity(adapter.info.facts), faces(self._liked), faces(self._disliked))

    def _draw(self, adapter: Adapter, standard: Standard) -> bool:
        """One step of drawing; whether there was nothing left to draw."""
        if self._drawing is None or self._drawing.finished:
            wanted = self._next_shots(standard)
            if not wanted:
                return True
            self._drawing = Drawing(self._base, self._slot, adapter, self._frame, wanted, self._take)
        self._drawing.step()
        self._done += 1
        self._pace.stepped(1)
        return False

    def _next_shots(self, standard: Standard) -> dict[int, Shot]:
        """The next that are to be drawn; those that are on disk are looked at instead."""
        while True:
            left = [index for index in self._shots if index not in self._seen]
            more = still_to_draw(self._seen, self._request.count, len(self._shots), standard)
            wanted = left[:more]
            found = [index for index in wanted if self._drawn_path(index).is_file()]
            if not found:
                return {index: self._shots[index] for index in wanted}
            for index in found:
                self._seen[index] = self._inspector.inspect(read_picture(self._drawn_path(index)))

    def _take(self, index: int, pixels: Pixels) -> None:
        write_lossless(self._drawn_path(index), pixels)
        self._seen[index] = self._inspector.inspect(pixels)

    def _close(self, choice: Choice, standard: Standard) -> HeadshotsMade:
        made = HeadshotsMade(
            self.id,
            tuple(self._picture(place, index, standard) for place, index in enumerate(choice.chosen)),
            seconds=round(time.monotonic() - self._begun_at, 2),
            tried=choice.tried,
            reached=choice.reached,
            lacking=tuple(str(flaw) for flaw in choice.lacking),
        )
        write_atomically(self._result, json.dumps(asdict(made)).encode())
        shutil.rmtree(self._drawn, ignore_errors=True)
        return made

    def _picture(self, place: int, index: int, standard: Standard) -> Picture:
        seen, seeds = self._seen[index], self._shots[index].seeds
        return Picture(
            str(self._path(place)),
            seeds[-1],
            self._frame.width_px,
            self._frame.height_px,
            standard.likeness(seen),
            Opinion(seeds, seen.face.identity if seen.face else None).to_facts(),
        )

    def _made_before(self) -> HeadshotsMade | None:
        """The answer that was given to the same request, if its pictures are still there."""
        try:
            values = json.loads(self._result.read_bytes())
        except (OSError, ValueError):
            return None
        pictures = tuple(Picture(**picture) for picture in values.pop("pictures"))
        if not all(Path(picture.path).is_file() for picture in pictures):
            return None
        shutil.rmtree(self._drawn, ignore_errors=True)  # a crash may have come between
        lacking = tuple(values.pop("lacking"))
        return HeadshotsMade(**{**values, "id": self.id, "pictures": pictures, "lacking": lacking})

    def _progress(self) -> Progress:
        """By what is left as far as it is known; further draws make it wait, never run backwards."""
        left = (self._drawing.steps_left if self._drawing else 0) + self._request.count
        if self._choice is not None:
            left = sum(not self._path(place).is_file() for place in range(len(self._choice.chosen)))
        self._fraction = max(self._fraction, self._done / max(1, self._done + left))
        return Progress(
            self.id,
            "generating",
            fraction=round(self._fraction, 4),
            eta_seconds=self._pace.eta_seconds(left),
            step=self._done,
            total_steps=self._done + left,
        )

    def _path(self, place: int) -> Path:
        return self._out / f"{self._name}-{place}.jpg"

    def _drawn_path(self, index: int) -> Path:
        return self._drawn / f"{index}.png"


def _fingerprint(request: MakeHeadshots, shots: dict[int, Shot]) -> str:
    """Of everything that the pictures depend on: nothing that was drawn for something else is taken over."""
    parts = [request.adapter_id, request.count, [[shot.prompt, shot.seeds] for shot in shots.values()]]
    faces = [[facts.get("identity") for facts in each] for each in (request.liked, request.disliked)]
    return hashlib.sha256(json.dumps([parts, faces]).encode()).hexdigest()[:16]
