"""A shoot as work: draw more pictures than asked, look at each, deliver the best, and delete the others.

What was drawn lies on disk until the choice is made, so that a shoot that was interrupted draws only what is
missing and chooses the same. Pictures are kept, looked at and marked beside the GPU, which draws meanwhile.
"""

import hashlib
import json
import shutil
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from engine.beside import Beside
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

# Pictures in memory that are not kept yet: no more are drawn until there are fewer. 3 MB each.
MOST_BEHIND = 8


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
        beside: Beside,
        candidates_per_headshot: int = 1,
    ) -> None:
        """`base` and `slot` go together: what holds the adapter is what is asked. `finish` brings a chosen
        picture to its file, whole or absent."""
        super().__init__(request.id, request.person_id)
        self._request, self._base, self._slot, self._shelf = request, base, slot, shelf
        self._inspector, self._finish, self._beside = inspector, finish, beside
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
        self._drawn_steps, self._fraction = 0, 0.0

    def checkpoint(self) -> None:
        """What was drawn is brought to the disk; the rest is a matter of seconds."""
        self._beside.wait()

    def close(self) -> None:
        """See `Work.close`. Waits for one picture at most."""
        self._beside.close()
        self._drawing = None  # a job that will never be done may hold on to all this for a moment

    @property
    def waiting(self) -> bool:
        """See `Work.waiting`."""
        return self._beside.pending > self._may_be_behind and not self._beside.failed

    @property
    def _may_be_behind(self) -> int:
        """How many pictures that are not kept, looked at or marked yet leave something else to do."""
        return 0 if self._drawing is None or self._drawing.finished else MOST_BEHIND - 1

    def quantum(self) -> Reply:
        """See `Work.quantum`."""
        request = self._request
        adapter = self._shelf.get(request.adapter_id, Path(request.adapter_path))
        if adapter.info.person_id != request.person_id:
            raise AdapterCorrupt(request.adapter_path, "belongs to another person")
        if self._made is not None:
            return self._made
        standard = self._standard(adapter)
        if self._beside.under_way() > self._may_be_behind:
            return self._progress()
        if self._drawing is not None and not self._drawing.finished:
            return self._draw(self._drawing)
        if self._choice is None:
            wanted = self._next_shots(standard)
            if wanted:
                return self._begin(adapter, wanted)
            self._choice = choose(self._seen, request.count, standard)
        if not self._choice.chosen:
            shutil.rmtree(self._drawn, ignore_errors=True)
            raise NothingToShow(self._choice.tried)
        unmarked = self._unmarked(self._choice)
        for place, index in unmarked.items():
            self._beside.begin(partial(self._mark, place, index))
        return self._progress() if unmarked else self._close(self._choice, standard)

    def _standard(self, adapter: Adapter) -> Standard:
        def faces(opinions: list[Opinion]) -> list[Any]:
            return [opinion.identity for opinion in opinions if opinion.identity is not None]

        return Standard(unpack_identity(adapter.info.facts), faces(self._liked), faces(self._disliked))

    def _next_shots(self, standard: Standard) -> list[int]:
        """The next to be drawn and looked at, by what is known of all before them; none = choose."""
        left = [index for index in self._shots if index not in self._seen]
        return left[: still_to_draw(self._seen, self._request.count, len(self._shots), standard)]

    def _begin(self, adapter: Adapter, wanted: list[int]) -> Progress:
        """Look at those that are on disk; where none is, draw them."""
        found = [index for index in wanted if self._drawn_path(index).is_file()]
        for index in found:
            self._beside.begin(partial(self._look, index))
        if found:
            return self._progress()
        shots = {index: self._shots[index] for index in wanted}
        self._drawing = Drawing(self._base, self._slot, adapter, self._frame, shots, self._take)
        return self._draw(self._drawing)

    def _draw(self, drawing: Drawing) -> Progress:
        drawing.step()
        self._drawn_steps += 1
        self._pace.stepped(1)
        return self._progress()

    def _take(self, index: int, pixels: Pixels) -> None:
        self._beside.begin(partial(self._keep, index, pixels))

    # Beside the GPU. What they see is read when none of them is under way.

    def _keep(self, index: int, pixels: Pixels) -> None:
        write_lossless(self._drawn_path(index), pixels)
        self._seen[index] = self._inspector.inspect(pixels)

    def _look(self, index: int) -> None:
        self._seen[index] = self._inspector.inspect(read_picture(self._drawn_path(index)))

    def _mark(self, place: int, index: int) -> None:
        self._finish(self._path(place), read_picture(self._drawn_path(index)))

    def _unmarked(self, choice: Choice) -> dict[int, int]:
        """Those that are not in their files yet: place -> index."""
        return {place: index for place, index in enumerate(choice.chosen) if not self._path(place).is_file()}

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
        done, left = self._drawn_steps, self._request.count
        if self._choice is not None:
            left = len(self._unmarked(self._choice))
            done += len(self._choice.chosen) - left
        elif self._drawing is not None:
            left += self._drawing.steps_left
        self._fraction = max(self._fraction, done / max(1, done + left))
        return Progress(
            self.id,
            "generating",
            fraction=round(self._fraction, 4),
            eta_seconds=self._pace.eta_seconds(left),
            step=done,
            total_steps=done + left,
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
