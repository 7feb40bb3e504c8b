"""A training as work: prepare the selfies one by one, train a few steps, look at the adapter, keep the best.

A look is drawn in quanta of its own, so that somebody who waits for headshots waits for one denoising step,
never for a whole look.
"""

import logging
import time
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator

from engine.advice import advice
from engine.curve import Curve
from engine.dataset import Dataset
from engine.errors import NotEnoughSelfies
from engine.inspection import Inspector, Thumbnail
from engine.likeness import Reference, band, centre, pack_identity, person_embedding
from engine.lora import AdapterInfo, AdapterSlot, save_adapter
from engine.merging import Holder
from engine.messages import AdapterTrained, Progress, Reply, TrainAdapter
from engine.models import Base
from engine.pictures import read_picture
from engine.presets import Recipe
from engine.prior import PriorPictures, remove_prior_pictures
from engine.recording import Recorder
from engine.scheduler import Kind
from engine.selfies import Selfie, split_selfies, usable_selfies
from engine.trainer import Training
from engine.validation import Validation, ValidationPlan
from engine.work import Pace, Work

log = logging.getLogger(__name__)

MIN_SELFIES = 3
# Long enough to make switching cheap, short enough that a shoot hardly notices.
TRAINING_QUANTUM_SECONDS = 0.25
LOSS_MEMORY = 0.9
CURVE, LOSS = "curve", "loss"  # of `Training.notes`


class TrainingWork(Work):
    """One request to train an adapter."""

    kind = Kind.TRAINING

    def __init__(
        self,
        request: TrainAdapter,
        base: Base,
        slot: AdapterSlot,
        recipe: Recipe,
        accelerator: Accelerator,
        inspector: Inspector,
        recorder: Recorder | None = None,
        looking: tuple[Base, Holder] | None = None,
    ) -> None:
        """recorder: see `engine.gradient`. looking: what pictures are drawn with, if not with the branch."""
        super().__init__(request.id, request.person_id)
        self._looking = looking or (base, slot)
        self._request, self._base, self._slot, self._recipe = request, base, slot, recipe
        self._accelerator, self._inspector, self._recorder = accelerator, inspector, recorder
        self._selfies = usable_selfies(request.photos, request.facts)
        split = split_selfies(self._selfies)
        self._waiting = list(split.training)
        self._total = len(self._waiting)
        self._dataset = Dataset.of(split, recipe)
        self._plan = ValidationPlan.of(recipe, base.settings)
        self._prior: PriorPictures | None = None
        self._thumbnails: list[Thumbnail] = []
        self._reference = Reference(())
        self._training: Training | None = None
        self._look: Validation | None = None
        self._pace = Pace()
        self._saved_at, self._saved_step = time.monotonic(), 0

    @property
    def training(self) -> Training | None:
        """The training itself, once it has begun."""
        return self._training

    def checkpoint(self) -> None:
        """See `Work.checkpoint`."""
        if self._training is not None and not self._training.finished:
            self._training.save()
            self._saved_at = time.monotonic()

    def close(self) -> None:
        """See `Work.close`."""
        if self._training is not None:
            self._training.close()
            self._training.forget_recordings()

    def quantum(self) -> Reply:
        """See `Work.quantum`."""
        if self._waiting:
            return self._prepare()
        if self._training is None:
            if len(self._dataset.photos) < MIN_SELFIES:
                raise NotEnoughSelfies(len(self._dataset.photos), MIN_SELFIES)
            if self._drew_prior() or self._dataset.say(self._base):
                return self._prepared()
            self._training = self._begin()
            self._saved_step = self._training.step_index
        if self._look is not None or self._look_is_due(self._training):
            return self._validate(self._training)
        if self._training.finished:
            return self._finish(self._training)
        return self._train(self._training)

    def _prepare(self) -> Progress:
        selfie = self._waiting.pop(0)
        try:
            self._dataset.add(selfie, self._base, self._recipe)
            self._note_looks(selfie)
        except OSError:
            log.warning("selfie_unreadable", extra={"request_id": self.id, "photo_id": selfie.key})
        return self._prepared()

    def _drew_prior(self) -> bool:
        """Draw a step of the pictures of anybody; whether there was one to draw."""
        if self._prior is None:
            work_dir = Path(self._request.work_dir)
            self._prior = PriorPictures(*self._looking, self._slot, self._recipe, work_dir)
        if self._prior.finished:
            self._dataset.prior = self._dataset.prior or self._prior.views()
            return False
        self._prior.step()
        return True

    def _prepared(self) -> Progress:
        done = self._total - len(self._waiting)
        return Progress(self.id, "preparing", fraction=0.0, step=done, total_steps=self._total)

    def _note_looks(self, selfie: Selfie) -> None:
        """What copies are told by; nothing is known of a selfie without facts."""
        if selfie.facts is None:
            return
        face = self._inspector.face(read_picture(selfie.path))
        if face is not None:
            self._thumbnails.append(face.thumbnail)

    def _begin(self) -> Training:
        request, held_out = self._request, {selfie.key for selfie in self._dataset.held_out}
        self._reference = Reference(
            held_out=tuple(s.facts.identity for s in self._selfies if s.facts and s.key in held_out),
            seen=tuple(s.facts.identity for s in self._selfies if s.facts and s.key not in held_out),
            thumbnails=tuple(self._thumbnails),
        )
        info = AdapterInfo(
            adapter_id=request.adapter_id,
            person_id=request.person_id,
            base_revision=self._base.folder.revision,
            rank=self._recipe.rank,
            steps=self._recipe.steps,
            facts=pack_identity(person_embedding(request.facts.values())),
        )
        training = Training(
            self._base, self._slot, self._dataset, self._recipe, info,
            Path(request.work_dir), request.seed, self._accelerator,
            centre(self._reference.seen) if self._reference.seen else None, self._recorder,
        )  # fmt: skip
        log.info(
            "training_begun",
            extra={"request_id": self.id, "photos": len(self._dataset.photos), "step": training.step_index},
        )
        return training

    def _train(self, training: Training) -> Reply:
        """Some steps; or the beginning of a save, which takes as long as they do."""
        begun, first = time.monotonic(), training.step_index
        if self._save_is_due(training):
            training.begin_save()
            self._saved_at, self._saved_step = begun, first
            return self._progress(training)
        until = self._plan.next_after(first, training.total_steps)
        while training.step_index < until:
            loss, before = training.step(), training.notes.get(LOSS)
            training.notes[LOSS] = loss if before is None else LOSS_MEMORY * before + (1 - LOSS_MEMORY) * loss
            if time.monotonic() - begun >= TRAINING_QUANTUM_SECONDS:
                break
        self._pace.stepped(training.step_index - first)
        if training.finished and not self._reference.held_out:
            return self._finish(training)
        return self._progress(training)

    def _save_is_due(self, training: Training) -> bool:
        late = time.monotonic() - self._saved_at > self._recipe.save_seconds
        return late and not training.saving and training.step_index > self._saved_step

    def _look_is_due(self, training: Training) -> bool:
        step, total = training.step_index, training.total_steps
        return bool(
            self._reference.held_out and self._plan.is_due(step, total) and not _curve(training).has(step)
        )

    def _validate(self, training: Training) -> Progress:
        """A quantum of a look. Its point is in the checkpoint from the end of it on: a look that a crash cut
        short is taken again, with the same seeds."""
        if self._look is None:
            # Another each time, also where its numbers lie where the last one's were: they are not the same.
            now = replace(training.adapter)
            self._look = Validation(*self._looking, now, self._plan, self._inspector)
        self._look.step()
        if self._look.finished:
            point = self._look.point(training.step_index, self._reference)
            self._look = None
            curve = _curve(training).with_point(point)
            training.notes[CURVE] = curve.to_json()
            if curve.best == point:
                training.keep_best(curve.score(point))
            if curve.should_stop(training.total_steps):
                training.stop_early()
            log.info("adapter_looked_at", extra={"request_id": self.id, "step": point.step})
        return self._progress(training)

    def _progress(self, training: Training) -> Progress:
        return Progress(
            self.id,
            "training",
            fraction=round(training.step_index / training.total_steps, 4),
            eta_seconds=self._pace.eta_seconds(training.total_steps - training.step_index),
            step=training.step_index,
            total_steps=training.total_steps,
            loss=round(training.notes[LOSS], 5) if LOSS in training.notes else None,
        )

    def _finish(self, training: Training) -> AdapterTrained:
        adapter = training.best.adapter if training.best else training.adapter
        report = self._report(training, adapter.info.steps)
        facts = {**adapter.info.facts, "report": report}
        adapter = replace(adapter, info=replace(adapter.info, facts=facts))
        # A bfloat16 base computes the branch's share in bfloat16 anyway; halves the file.
        save_adapter(Path(self._request.adapter_path), adapter, self._base.dtype)
        training.discard()
        remove_prior_pictures(Path(self._request.work_dir))
        return trained(self._request, adapter.info, round(time.monotonic() - self._begun_at, 1))

    def _report(self, training: Training, steps: int) -> dict[str, object]:
        """What is told of the training: numbers for the operator, a band and advice for the person."""
        likeness = band(training.best.score, self._reference.real_to_real) if training.best else ""
        known = [selfie.facts for selfie in self._selfies if selfie.facts is not None]
        return {
            "likeness": likeness,
            "advice": list(advice(known)) if likeness in ("good", "weak") else [],
            "facts": {
                LOSS: round(training.notes.get(LOSS, 0.0), 5),
                "photos": len(self._dataset.photos),
                "held_out": len(self._reference.held_out),
                "rank": self._recipe.rank,
                "steps_of": training.total_steps,
                "steps_done": training.step_index,
                "real_to_real": round(self._reference.real_to_real, 4),
                "best_step": steps,
                CURVE: _curve(training).to_json(),
            },
        }


def trained(request: TrainAdapter, info: AdapterInfo, seconds: float) -> AdapterTrained:
    """The answer to a request whose adapter is complete on disk, from what its file says of itself."""
    report = info.facts.get("report", {})
    return AdapterTrained(
        request.id,
        request.adapter_id,
        request.adapter_path,
        steps=info.steps,
        seconds=seconds,
        likeness=report.get("likeness", ""),
        advice=tuple(report.get("advice", ())),
        facts=report.get("facts", {}),
    )


def _curve(training: Training) -> Curve:
    return Curve.from_json(training.notes.get(CURVE, []))
