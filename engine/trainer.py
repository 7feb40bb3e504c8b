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

from engine import flow
from engine.batches import Batches, Draw, by_shape
from engine.dataset import Dataset
from engine.durable_files import WriteBehind, write_parts_atomically
from engine.errors import EngineError
from engine.faces import Embedding
from engine.lora import Adapter, AdapterInfo, AdapterSlot
from engine.models import Base
from engine.moving_average import MovingAverage
from engine.presets import Recipe
from engine.tensor_parts import tensor_parts

log = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.safetensors"


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
    ) -> None:
        """Begin, or go on where `work_dir` has a checkpoint of the same training. face: of the person, which
        the adapter starts from where the base has a face prior."""
        self._base, self._slot, self._recipe = base, slot, recipe
        self._texts = dataset.texts
        self._accelerator = accelerator
        self._path = work_dir / CHECKPOINT_FILE
        self._saves = WriteBehind()
        self._generator = torch.Generator().manual_seed(seed)
        self._identity = json.dumps(
            [asdict(recipe), info.adapter_id, info.base_revision, dataset.fingerprint(), seed], sort_keys=True
        )
        fresh = slot.fresh(info, self._generator)
        if base.face_prior is not None and face is not None and recipe.face_prior:
            base.face_prior.start(fresh, face)
        self._live = Adapter(info, {name: tensor.to(base.device) for name, tensor in fresh.tensors.items()})
        self._average = MovingAverage(self._live.tensors, recipe.ema_decay) if recipe.ema_decay else None
        self._optimizer = torch.optim.AdamW(
            slot.parameters,
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            # One kernel for all of FLUX's 836 tensors instead of some ten thousand small ones.
            fused=base.device.type == "cuda",
        )
        self._batches = Batches(dataset, recipe, base.shift, self._generator)
        self._stopped = False
        self.step_index = 0
        self.best: Best | None = None
        # What its user wants to know again after a crash, such as the likeness curve; anything JSON knows.
        self.notes: dict[str, Any] = {}
        self.resumed = self._resume()

    @property
    def adapter(self) -> Adapter:
        """As it would be used now: the moving average, where the recipe asks for one."""
        return self._live if self._average is None else Adapter(self._live.info, self._average.tensors)

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

    def keep_best(self, score: float) -> bool:
        """Keep a copy of the adapter as it is now if `score` beats the best so far; returns whether."""
        if self.best is not None and score <= self.best.score:
            return False
        tensors = {name: t.detach().to("cpu", copy=True) for name, t in self.adapter.tensors.items()}
        self.best = Best(score, Adapter(replace(self.adapter.info, steps=self.step_index), tensors))
        return True

    def step(self) -> float:
        """One optimizer step; returns its loss. Raises torch.OutOfMemoryError with nothing changed but the
        random state, which the last checkpoint keeps, and TrainingDiverged."""
        draws = self._batches.next()
        done = torch.zeros((), device=self._base.device)
        with self._slot.holding(self._live):
            for group in by_shape(draws):
                loss = self._loss(group) * (len(group) / len(draws))
                self._accelerator.backward(loss)
                done += loss.detach()
            norm = self._accelerator.clip_grad_norm_(self._slot.parameters, self._recipe.max_gradient_norm)
            if not bool(torch.isfinite(norm)):
                raise TrainingDiverged(self.step_index)
            self._optimizer.param_groups[0]["lr"] = self._learning_rate()
            self._optimizer.step()
        self.step_index += 1
        if self._average is not None:
            self._average.follow(self._live.tensors, self.step_index)
        return float(done)

    def _loss(self, group: list[Draw]) -> torch.Tensor:
        """Of draws that have one shape."""
        device, view = self._base.device, group[0].view
        clean = torch.stack([draw.view.latents for draw in group]).to(device)
        noise = torch.stack([draw.noise for draw in group]).to(device)
        weights = torch.stack([draw.view.weights for draw in group]).to(device)
        sigmas = torch.cat([draw.sigma for draw in group]).to(device)
        noised = flow.noised(clean, noise, sigmas)
        texts = [self._texts[draw.caption] for draw in group]
        predicted = self._base.predict(noised, sigmas, texts, view.rows, view.columns, self._recipe.guidance)
        return flow.velocity_loss(predicted, clean, noise, weights)

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

    def discard(self) -> None:
        """Remove the checkpoint, once the adapter is safe."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _state(self) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """What is saved: tensors where they are, and the file's header."""
        tensors = {f"adapter/{name}": tensor for name, tensor in self._live.tensors.items()}
        if self._average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in self._average.tensors.items()}
        for index, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{kind}": value for kind, value in state.items()}
        tensors["generator"] = self._generator.get_state()
        progress: dict[str, Any] = {
            "step": self.step_index,
            "order": self._batches.order,
            "stopped": self._stopped,
            "notes": self.notes,
        }
        if self.best is not None:
            tensors |= {f"best/{name}": tensor for name, tensor in self.best.adapter.tensors.items()}
            progress |= {"best_score": self.best.score, "best_step": self.best.step}
        return tensors, {"identity": self._identity, "progress": json.dumps(progress)}

    def _resume(self) -> bool:
        """Take over the checkpoint. One that is damaged or of another training is left aside."""
        try:
            with safe_open(self._path, framework="pt") as file:
                header = file.metadata() or {}
                if header.get("identity") != self._identity:
                    return False
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError):
            return False
        for name, tensor in self._live.tensors.items():
            tensor.copy_(tensors[f"adapter/{name}"])
        for name, tensor in self._average.tensors.items() if self._average else ():
            tensor.copy_(tensors[f"average/{name}"])
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer/"):
                _, index, kind = name.split("/")
                state.setdefault(int(index), {})[kind] = tensor
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state})
        self._generator.set_state(tensors["generator"])
        progress = json.loads(header["progress"])
        self._batches.order, self.step_index = progress["order"], progress["step"]
        self._stopped, self.notes = progress["stopped"], progress["notes"]
        if "best_score" in progress:
            info = replace(self.adapter.info, steps=progress["best_step"])
            best = {name: tensors[f"best/{name}"] for name in self._live.tensors}
            self.best = Best(progress["best_score"], Adapter(info, best))
        return True

    def _learning_rate(self) -> float:
        """Rises linearly over the warm-up, then stays."""
        return self._recipe.learning_rate * min(
            1.0, (self.step_index + 1) / max(1, self._recipe.warmup_steps)
        )
