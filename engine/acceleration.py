"""Compiled blocks, warmed before anybody waits for them, and a count of what was compiled after all.

Drawing has one shape a base, so its blocks are compiled for it exactly. Training has a shape for each bucket:
its blocks are compiled once for all of them, with the number of tokens left open. What was compiled is kept
on disk for the next start.
"""

import logging
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.attention import Attention, choose, on_gpu
from engine.crops import bucket
from engine.generator import Frame
from engine.lora import Adapter, AdapterInfo
from engine.merging import Holder
from engine.models import VAE_FACTOR, Base
from engine.presets import Recipe
from engine.resources import Resources
from engine.validation import PROMPTS, SEEDS

log = logging.getLogger(__name__)

# Each shape, each way of asking and each kind of block is an entry; beyond 8, torch silently stops compiling.
COMPILED_VARIANTS = 64
WARM_UP = AdapterInfo("warm-up", "nobody", "", 1)


def keep_artifacts(cache_dir: Path) -> None:
    """Where compiled code lies; to be called before anything is compiled."""
    compiled = cache_dir.absolute() / "compiled"
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(compiled))
    os.environ.setdefault("TRITON_CACHE_DIR", str(compiled / "triton"))  # of our own kernels


class Acceleration:
    """Of one engine's resources. On anything but CUDA it does nothing unless it is asked for."""

    def __init__(self, resources: Resources, recipe: Recipe, compile: str = "auto") -> None:
        """compile: auto, on or off, see `EngineConfig`."""
        self._resources, self._recipe = resources, recipe
        base = resources.base
        on_cuda = base.device.type == "cuda"
        # Packed weights and blocks that come from the host are not code that a compiler sees through.
        plain = base.tier.weights == "bf16" and not base.tier.offload_blocks
        self.compiles = plain and (on_cuda if compile == "auto" else compile == "on")
        self.attention = self._measure() if on_cuda else Attention()
        self._warmed_at = 0

    @property
    def recompiles(self) -> int:
        """Graphs that were compiled since the warm-up, while somebody waited: 0 if all is well."""
        return _graphs() - self._warmed_at if self.compiles else 0

    def start(self, backend: str = "inductor") -> None:
        """Set everything up and warm it: seconds where it was compiled before, minutes where not."""
        begun = time.monotonic()
        self.attention.use_for_training()
        if self._resources.serving is not None:
            self._resources.serving.around = self.attention.while_drawing
        if self.compiles:
            torch._dynamo.config.recompile_limit = COMPILED_VARIANTS
            _compile(self._resources, backend)
            try:
                self._warm_up()
            except torch.OutOfMemoryError:  # a job steps down by itself; here there is nobody to serve yet
                log.warning("no_room_to_warm_up")
            self._resources.collect()
            self._warmed_at = _graphs()
        log.info(
            "engine_warm",
            extra={
                "seconds": round(time.monotonic() - begun, 1),
                "compiled": self._warmed_at,
                "attention": [self.attention.training, self.attention.drawing],
            },
        )

    def _measure(self) -> Attention:
        base = self._resources.base
        config, side = base.transformer.config, base.settings.picture_px
        tokens = Frame(side, side, 1, 1.0).tokens + base.text_tokens
        heads, width = config.num_attention_heads, config.attention_head_dim
        return choose(base.device, base.dtype, heads, width, tokens, on_gpu)

    def _warm_up(self) -> None:
        resources, base = self._resources, self._resources.base
        adapter = self._adapter(base.dtype)
        drawing, holder = resources.drawing(resources.all)
        picture, look = base.settings.picture_px, base.settings.resolution_px
        with torch.no_grad():
            _ask(drawing, holder, adapter, picture, picture, Frame(picture, picture, 1, 1.0).batch_size)
            # Looks at an adapter in training are drawn with the branch.
            batch = min(Frame(look, look, 1, 1.0).batch_size, len(PROMPTS) * len(SEEDS))
            _ask(base, resources.slot, self._adapter(torch.float32), look, look, batch)
        for width_px, height_px in self._training_shapes():
            training = self._adapter(torch.float32)
            _ask(base, resources.slot, training, width_px, height_px, 1, gradient=True)
        resources.forget(WARM_UP.adapter_id)

    def _training_shapes(self) -> list[tuple[int, int]]:
        """The squares, and one that is none: from two on, the number of tokens is left open."""
        sides = self._recipe.resolutions_px
        squares = [(side, side) for side in sides]
        oblong = bucket(1.5, sides[0], self._recipe.max_aspect)
        return [*squares, *([oblong] if oblong not in squares else [])]

    def _adapter(self, dtype: torch.dtype) -> Adapter:
        info = AdapterInfo(WARM_UP.adapter_id, WARM_UP.person_id, "", self._recipe.rank)
        fresh = self._resources.slot.fresh(info, torch.Generator().manual_seed(0))
        return fresh.to(self._resources.base.device, dtype)


def _compile(resources: Resources, backend: str) -> None:
    if resources.serving is not None:
        resources.serving.base.transformer.compile_repeated_blocks(
            fullgraph=True, dynamic=False, backend=backend
        )
    resources.base.transformer.compile_repeated_blocks(fullgraph=True, backend=backend)


def _ask(
    base: Base, holder: Holder, adapter: Adapter, width_px: int, height_px: int, batch: int,
    gradient: bool = False,
) -> None:  # fmt: skip
    """Of noise, as a shoot or a training does."""
    text = base.encode_text("warm-up")
    tokens = Frame(height_px, width_px, 1, 1.0).tokens
    latents: Tensor = torch.zeros(batch, tokens, base.transformer.config.in_channels, device=base.device)
    rows, columns = height_px // VAE_FACTOR, width_px // VAE_FACTOR
    with holder.holding(adapter):
        made = base.predict(latents, torch.full((batch,), 0.5), [text] * batch, rows, columns, 1.0)
        if gradient:
            made.float().square().mean().backward()  # type: ignore[no-untyped-call]


def _graphs() -> int:
    """Compiled so far. Asked only where something is: the compiler takes seconds to import."""
    counters: Any = torch._dynamo.utils.counters
    return int(counters["stats"]["unique_graphs"])
