"""What work on the GPU is done with: the base, its slot, adapters at hand, serving weights. A job gets of it
what it is allowed; one that ran out of memory is allowed less."""

import gc
import logging

import torch

from engine.config import EngineConfig
from engine.float8 import FrozenFloat8Linear, computes, fits
from engine.flux_ops import allow_kernels, usable
from engine.lora import AdapterSlot
from engine.memory import Recompute
from engine.merging import Holder, Serving
from engine.models import Base, LaunchedBase
from engine.recording import GraphRecorder, Recorder
from engine.residency import base_mib, card_mib, set_recompute
from engine.shelf import AdapterShelf
from engine.tiers import Allowance, Float8Use, float8_for, is_merged, without_effect

log = logging.getLogger(__name__)

_MIB = 1 << 20


class Resources:
    """Not for several threads."""

    def __init__(self, base: Base, config: EngineConfig) -> None:
        tier = base.tier
        self.base = base
        for name in without_effect(tier, vars(config)):
            log.warning("setting_without_effect", extra={"setting": name, "tier": tier.name})
        allow_kernels(config.kernels == "auto")
        # Elsewhere nothing is gained, and small bases on a CPU stay the field's own layers to the bit.
        self.slot = AdapterSlot(base.transformer, base.adapted_too, lean=usable(base.device))
        self.shelf = AdapterShelf(
            self.slot, base.folder.revision, base.device, base.dtype,
            tier.device_mib * _MIB, tier.host_mib * _MIB,
        )  # fmt: skip
        self._recompute = _recompute(Allowance.of(tier))
        self.float8 = _float8(base, config)
        # Packed weights and blocks that come from the host are not where they were at the next pass; and what
        # is recorded keeps its memory, which a tier with little of it has better use for.
        whole = tier.weights == "bf16" and not tier.offload_blocks and not tier.recompute
        self._records = base.device.type == "cuda" and whole and config.cuda_graphs == "auto"
        self._serving = self._serve(config)
        if self.float8.training:
            self.slot.compute_with(lambda linear: FrozenFloat8Linear(linear) if fits(linear) else linear)
        self._granted: Allowance | None = None
        self.all = Allowance(merged=self._serving is not None, recompute=tier.recompute)

    @property
    def serving(self) -> Serving | None:
        """The serving weights, where there is room for any."""
        return self._serving

    def recorder(self, allowance: Allowance) -> Recorder | None:
        """For one job's passes; None where they are launched kernel by kernel."""
        return GraphRecorder(self.base.device) if self._records and allowance == self.all else None

    def drawing(self, allowance: Allowance) -> tuple[Base, Holder]:
        """What is asked for pictures, and what holds the adapter for it."""
        if allowance.merged and self._serving is not None:
            return self._serving.base, self._serving
        # Where there are serving weights, the base itself is compiled for training alone.
        return LaunchedBase.of(self.base) if self._serving is not None else self.base, self.slot

    def grant(self, allowance: Allowance) -> None:
        """Before a quantum of a job that is allowed this."""
        wanted = _recompute(allowance)
        if wanted != self._recompute:
            set_recompute(self.base.transformer, wanted)
            self._recompute = wanted
        if not allowance.at_hand and allowance != self._granted:
            self._give_up()
        self._granted = allowance

    def forget(self, adapter_id: str) -> None:
        """Leave nothing of an adapter."""
        self.shelf.forget(adapter_id)
        if self._serving is not None:
            self._serving.forget(adapter_id)

    def wait(self) -> None:
        """Until the device has done all that it was told. Raises what went wrong meanwhile."""
        if self.base.device.type == "cuda":
            torch.cuda.synchronize(self.base.device)

    def collect(self) -> None:
        """Give back what nobody holds any more."""
        gc.collect()
        if self.base.device.type == "cuda":
            torch.cuda.empty_cache()

    def _give_up(self) -> None:
        self.shelf.clear()
        if self._serving is not None and not self._serving.released:
            self._serving.release()
            self.collect()

    def _serve(self, config: EngineConfig) -> Serving | None:
        tier = self.base.tier
        if not is_merged(config.merge, tier):
            return None
        try:
            recorder = GraphRecorder(self.base.device) if self._records else None
            return Serving(self.base, self.slot, float8=self.float8.drawing, recorder=recorder)
        except torch.OutOfMemoryError:
            log.warning("no_room_to_merge", extra={"tier": tier.name})
            self.collect()
            return None


def _recompute(allowance: Allowance) -> Recompute:
    if not allowance.recompute:
        return "none"
    return "some" if allowance.at_hand else "all"


def _float8(base: Base, config: EngineConfig) -> Float8Use:
    if computes(base.device):
        merged = is_merged(config.merge, base.tier)
        return float8_for(config.fp8, base.tier, merged, card_mib(base.device), base_mib(base.transformer))
    if config.fp8 == "on":
        log.warning("no_float8", extra={"device": str(base.device)})
    return Float8Use(drawing=False, training=False)
