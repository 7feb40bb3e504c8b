"""One adapter's training as an object that moves a step at a time and can stop between any two.

Knows no queue and no policy: who runs it decides when. After a crash it goes on from its checkpoint with the
same numbers that an uninterrupted run would have had.
"""

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open

from engine.batches import Batches, by_shape
from engine.dataset import Dataset
from engine.durable_files import WriteBehind, remove_unfinished, write_parts_atomically
from engine.errors import EngineError
from engine.faces import Embedding
from engine.gradient import AdapterGradient
from engine.lora import Adapter, AdapterInfo, AdapterSlot, packed, unpacked
from engine.models import Base
from engine.moving_average import MovingAverage
from engine.presets import Recipe
from engine.recording import Recorder
from engine.tensor_parts import tensor_parts

log = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.safetensors"
CHECKPOINT_VERSION = 2
OPTIMIZER = "optimizer/"  # before the names of its tensors in a checkpoint
# Steps that are drawn ahead of the GPU, and modulated at once.
AHEAD = 8


class TrainingDiverged(EngineError):
    """A gradient is not finite. The adapter is as it was before that step."""

    reason = "training_diverged"

    def __init__(self, step: int) -> None:
        super().__init__(f"the gradient of step {step} is not finite")
        self.step = step


@dataclass(frozen=True)
class Best:
    """The adapter as it was at its best so far: `adapter.info.steps` is when. Its tensors are on the CPU."""

    score: float
    adapter: Adapter

    @property
    def step(self) -> int:
        """Steps that were done by then."""
        return self.adapter.info.steps


class Training:
    """An adapter on its way. All randomness (initial weights, order of photos, crops, captions, sigmas,
    noise) comes from one generator on the CPU, so that it is the same on every device and can be saved."""

    def __init__(
        self,
        base: Base,
        slot: AdapterSlot,
        dataset: Dataset,
        recipe: Recipe,
        info: AdapterInfo,
        work_dir: Path,
        seed: int,
        accelerator: Accelerator,
        face: Embedding | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """Begin, or go on where `work_dir` has a checkpoint of the same training. face: of the person, which
        the adapter starts from where the base has a face prior. recorder: see `engine.gradient`."""
        self._base, self._slot, self._recipe = base, slot, recipe
        self._texts = dataset.texts
        self._accelerator = accelerator
        self._path = work_dir / CHECKPOINT_FILE
        self._saves = WriteBehind()
        generator = torch.Generator().manual_seed(seed)
        self._identity = json.dumps(
            [
                CHECKPOINT_VERSION, asdict(recipe), info.adapter_id, info.base_revision,
                dataset.fingerprint(), seed,
            ],
            sort_keys=True,
        )  # fmt: skip
        fresh = slot.fresh(info, generator)
        if base.face_prior is not None and face is not None and recipe.face_prior:
            base.face_prior.start(fresh, face)
        # In one piece: the optimizer, the average and a checkpoint do one thing instead of FLUX's 836.
        self._weights = torch.nn.Parameter(packed(fresh, slot).to(base.device))
        self._live = unpacked(info, self._weights.data, slot)
        self._average = MovingAverage(self._weights, recipe.ema_decay) if recipe.ema_decay else None
        self._optimizer = torch.optim.AdamW(
            [self._weights],
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            fused=base.device.type == "cuda",
        )
        self._gradient = AdapterGradient(base, slot, self._live, recipe.guidance, accelerator, recorder)
        self._batches = Batches(dataset, recipe, base.shift, generator)
        self._stopped = False
        self.step_index = 0
        self.best: Best | None = None
        # What its user wants to know again after a crash, such as the likeness curve; anything JSON knows.
        self.notes: dict[str, Any] = {}
        self.resumed = self._resume()

    @property
    def adapter(self) -> Adapter:
        """As it would be used now: the moving average, where the recipe asks for one."""
        if self._average is None:
            return self._live
        return unpacked(self._live.info, self._average.tensor, self._slot)

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return self._recipe.steps

    @property
    def finished(self) -> bool:
        """Whether every step is done, or no more shall be."""
        return self._stopped or self.step_index >= self._recipe.steps

    def stop_early(self) -> None:
        """No more steps: `finished` from now on, also after a crash."""
        self._stopped = True

    def keep_best(self, score: float) -> None:
        """Keep a copy of the adapter as it is now: its user says that it is the best so far."""
        flat = packed(self.adapter, self._slot).to("cpu")
        info = replace(self._live.info, steps=self.step_index)
        self.best = Best(score, unpacked(info, flat, self._slot))

    def step(self) -> float:
        """One optimizer step; returns its loss. Raises torch.OutOfMemoryError and TrainingDiverged with
        nothing changed but the random state, which the last checkpoint keeps."""
        draws = self._batches.next()
        if not self._gradient.foresees(draws):
            self._gradient.foresee([*draws, *self._batches.draw_ahead(AHEAD - 1)], self._texts)
        done, gradient = torch.zeros_like(self._weights[0].detach()), torch.zeros_like(self._weights)
        for group in by_shape(draws):
            loss, of_group = self._gradient.of(group, self._texts, len(group) / len(draws))
            done += loss
            gradient += of_group
        self._batches.draw_ahead(AHEAD)  # a GPU is busy with the above until its result is asked for
        self._weights.grad = gradient
        norm = self._accelerator.clip_grad_norm_([self._weights], self._recipe.max_gradient_norm)
        if not bool(torch.isfinite(norm)):
            raise TrainingDiverged(self.step_index)
        self._optimizer.param_groups[0]["lr"] = self._learning_rate()
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.step_index += 1
        if self._average is not None:
            self._average.follow(self._weights, self.step_index)
        return float(done)

    @property
    def saving(self) -> bool:
        """Whether a save is under way."""
        return self._saves.busy

    def save(self) -> None:
        """Write everything that the next step depends on, whole or not at all. Raises OSError."""
        self.close()
        self.begin_save()
        self._saves.wait()

    def begin_save(self) -> None:
        """Take everything as it is now and let it be written while the training goes on; until that is done,
        what was saved before is on the disk. Waits for an earlier save and raises what went wrong in it."""
        self._saves.wait()
        tensors, header = self._state()
        on_cpu = {name: each.detach().to("cpu", copy=True).contiguous() for name, each in tensors.items()}
        self._saves.begin(lambda: write_parts_atomically(self._path, tensor_parts(on_cpu, header)))

    def close(self) -> None:
        """Leave no save under way. One that went wrong is not needed any more."""
        try:
            self._saves.wait()
        except Exception as error:  # noqa: BLE001 - said, and that is all there is to do
            log.warning("checkpoint_not_written", extra={"problem": str(error)})

    def forget_recordings(self) -> None:
        """Give the memory of recorded passes back; they are recorded again where they are asked again."""
        self._gradient.forget_recordings()

    def discard(self) -> None:
        """Remove the checkpoint, once the adapter is safe."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _state(self) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """What is saved: tensors where they are, and the file's header."""
        order, generator = self._batches.state
        tensors = {"adapter": self._weights.detach(), "generator": generator}
        if self._average is not None:
            tensors["average"] = self._average.tensor
        moments = self._optimizer.state_dict()["state"].get(0, {})
        tensors |= {f"{OPTIMIZER}{kind}": value for kind, value in moments.items()}
        progress: dict[str, Any] = {
            "step": self.step_index,
            "order": order,
            "stopped": self._stopped,
            "notes": self.notes,
        }
        if self.best is not None:
            tensors["best"] = packed(self.best.adapter, self._slot)
            progress |= {"best_score": self.best.score, "best_step": self.best.step}
        return tensors, {"identity": self._identity, "progress": json.dumps(progress)}

    def _resume(self) -> bool:
        """Take over the checkpoint. One that is damaged or of another training is left aside."""
        remove_unfinished(self._path)
        try:
            with safe_open(self._path, framework="pt") as file:
                header = file.metadata() or {}
                if header.get("identity") != self._identity:
                    return False
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError):
            return False
        self._weights.data.copy_(tensors["adapter"])
        if self._average is not None:
            self._average.tensor.copy_(tensors["average"])
        moments = {
            name.removeprefix(OPTIMIZER): tensor
            for name, tensor in tensors.items()
            if name.startswith(OPTIMIZER)
        }
        state = {0: moments} if moments else {}
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state})
        progress = json.loads(header["progress"])
        self._batches.go_on(progress["order"], tensors["generator"])
        self.step_index = progress["step"]
        self._stopped, self.notes = progress["stopped"], progress["notes"]
        if "best_score" in progress:
            info = replace(self._live.info, steps=progress["best_step"])
            self.best = Best(progress["best_score"], unpacked(info, tensors["best"], self._slot))
        return True

    def _learning_rate(self) -> float:
        """Rises linearly over the warm-up, then stays."""
        return self._recipe.learning_rate * min(
            1.0, (self.step_index + 1) / max(1, self._recipe.warmup_steps)
        )
