"""Compiled blocks, warmed before anybody waits for them, and a count of what was compiled after all.

Drawing has two shapes a base, pictures and looks, so its blocks are compiled for them exactly. Training has a
shape for each bucket: its blocks are compiled once for all of them, with the number of tokens left open. What
was compiled is kept on disk for the next start.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine import flux_kernels
from engine.attention import Attention, choose, on_gpu, relative_error
from engine.config import PRESETS
from engine.crops import bucket
from engine.generator import BATCH_PICTURES, Frame
from engine.lean_blocks import compile_blocks
from engine.lora import BATCH_TOKENS, Adapter, AdapterInfo
from engine.merging import Holder, Serving
from engine.models import VAE_FACTOR, Base
from engine.presets import Recipe, recipe_for
from engine.resources import Resources
from engine.validation import PROMPTS, SEEDS

log = logging.getLogger(__name__)

# Each shape, each way of asking and each kind of block is an entry; beyond 8, torch silently stops compiling.
COMPILED_VARIANTS = 64
REMEDY = "Install a C compiler (gcc), or set [engine] compile to off"
WARM_UP = AdapterInfo("warm-up", "nobody", "", 1)
# The first call compiles; where passes are recorded, the second is, and the third is replayed. cuDNN's
# gradients once were right at the first call and wrong at the second.
WARM_CALLS = 3
# A batch's step takes no longer: whoever else waits for the GPU waits for it.
BATCH_SECONDS = 0.4
# Relative, of an adapter's gradient in the warm-up: .007 in bfloat16 and .02 in float8 are usual.
GRADIENT_ERROR = 0.06


def keep_artifacts(cache_dir: Path) -> None:
    """Where compiled code lies; to be called before anything is compiled."""
    compiled = cache_dir.absolute() / "compiled"
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(compiled))
    os.environ.setdefault("TRITON_CACHE_DIR", str(compiled / "triton"))  # of our own kernels


class Acceleration:
    """Of one engine's resources. On anything but CUDA it does nothing unless it is asked for."""

    def __init__(
        self, resources: Resources, recipe: Recipe, compile: str = "auto", attention: str = "auto"
    ) -> None:
        """compile: auto, on or off. attention: auto or safe. See `EngineConfig`."""
        self._resources, self._recipe = resources, recipe
        base = resources.base
        on_cuda = base.device.type == "cuda"
        # Packed weights and blocks that come from the host are not code that a compiler sees through.
        plain = base.tier.weights == "bf16" and not base.tier.offload_blocks
        self.compiles = plain and (on_cuda if compile == "auto" else compile == "on")
        self.attention = self._measure() if on_cuda and attention == "auto" else Attention()
        self._in_use = ExitStack()
        self._warmed_at = 0

    @property
    def recompiles(self) -> int:
        """Graphs and kernels compiled since the warm-up, while somebody waited: 0 if all is well."""
        return _graphs() - self._warmed_at if self.compiles else 0

    def start(self, backend: str = "inductor") -> None:
        """Set everything up and warm it: seconds where it was compiled before, minutes where not."""
        begun = time.monotonic()
        self._use_attention()
        if self._resources.serving is not None:
            self._resources.serving.around = self.attention.while_drawing
        if self.compiles:
            torch._dynamo.config.recompile_limit = COMPILED_VARIANTS
            _compile(self._resources, backend)
            problem = self._warm()
            if problem:  # such as no C compiler: slower is better than not at all
                log.error("not_compiled", extra={"problem": problem, "remedy": REMEDY})
                self._do_without()
                self._warm()
            self._resources.collect()
            self._warmed_at = _graphs()
        log.info(
            "engine_warm",
            extra={
                "seconds": round(time.monotonic() - begun, 1),
                "compiled": self._warmed_at,
                "batch_tokens": self._resources.serving.batch_tokens if self._resources.serving else 0,
                "attention": [self.attention.training, self.attention.drawing],
            },
        )

    def distrust_attention(self) -> bool:
        """A gradient was not finite: use no kernel that may be at fault. Whether there was one."""
        safe = self.attention.without_cudnn()
        if safe == self.attention:
            return False
        log.warning("attention_distrusted", extra={"kernel": self.attention.training, "now": safe.training})
        self.attention = safe
        self._use_attention()
        if self.compiles:
            self._forget_compiled()
        return True

    def _use_attention(self) -> None:
        self._in_use.close()
        self._in_use.enter_context(self.attention.while_training())
        if hasattr(torch.compiler.config, "cache_key_tag"):
            # Which kernel attention is compiled to stands in no key of the compiler's cache.
            kernels = f"{self.attention.training}/{self.attention.drawing}"
            torch.compiler.config.cache_key_tag = f"likeness attention {kernels}"

    def _forget_compiled(self) -> None:
        """Also what was recorded of it: nobody else may keep it loaded."""
        if self._resources.serving is not None:
            self._resources.serving.base.forget_recordings()
        torch._dynamo.reset()

    def _warm(self) -> str:
        """What keeps anything from being compiled, if something does."""
        try:
            self._warm_up()
        except torch.OutOfMemoryError:  # a job steps down by itself; here there is nobody to serve yet
            log.warning("no_room_to_warm_up")
        except torch._dynamo.exc.BackendCompilerFailed as error:
            return str(error)[:300] or type(error).__name__
        return ""

    def _do_without(self) -> None:
        """Nothing compiled after all."""
        self.compiles = False
        serving = self._resources.serving
        for base in (self._resources.base, *([serving.base] if serving else [])):
            for module in base.transformer.modules():
                module._compiled_call_impl = None
        self._forget_compiled()

    def _measure(self) -> Attention:
        base = self._resources.base
        config, side = base.transformer.config, base.settings.picture_px
        shapes = [(side, side), *self._training_shapes()]
        lengths = [Frame(high, wide, 1, 1.0).tokens + base.text_tokens for wide, high in shapes]
        heads, width = config.num_attention_heads, config.attention_head_dim
        chosen = choose(base.device, base.dtype, heads, width, lengths, on_gpu)
        # Others give attention gradients of several layouts, see `engine.lean_blocks`; and what is not warmed
        # is not held against anything.
        return chosen if self._resources.slot.lean and self.compiles else chosen.without_cudnn()

    def _warm_up(self) -> None:
        training = self._adapter(torch.float32)
        self._draw(training)
        if not self._trains(training) and self.distrust_attention():
            self._draw(training)
            if not self._trains(training):
                log.error("gradients_not_right", extra={"attention": self.attention.training})
        self._resources.forget(WARM_UP.adapter_id)

    def _trains(self, adapter: Adapter) -> bool:
        """Whether every gradient of several calls is near that of the safe kernels, launched as they are."""
        errors = []
        for side_px in self._training_shapes():
            wanted = self._wanted(adapter, side_px)
            errors += [_error(self._gradient(adapter, side_px), wanted) for _ in range(WARM_CALLS)]
        log.info("gradients_measured", extra={"largest_error": max(errors)})
        return max(errors) < GRADIENT_ERROR

    def _wanted(self, adapter: Adapter, side_px: tuple[int, int]) -> Tensor | None:
        """None where there is no room: what is not compiled keeps more."""
        try:
            with self._plainly():
                return self._gradient(adapter, side_px)
        except torch.OutOfMemoryError:
            log.info("gradient_not_compared", extra={"side_px": side_px})
        self._resources.collect()
        return None

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Nothing compiled, and no kernel that may be at fault."""
        self._in_use.close()
        try:
            with torch.compiler.set_stance("force_eager"), self.attention.without_cudnn().while_training():
                yield
        finally:
            self._use_attention()

    def _gradient(self, adapter: Adapter, side_px: tuple[int, int]) -> Tensor:
        """Of all the adapter's numbers."""
        made: list[Tensor] = []

        def take(predicted: Tensor) -> None:
            predicted.float().square().mean().backward()  # type: ignore[no-untyped-call]
            made.append(self._resources.slot.gradient(adapter.info.rank))

        _ask(self._resources.base, self._resources.slot, adapter, *side_px, 1, self._recipe.guidance, take)
        return made[0]

    @torch.no_grad()
    def _draw(self, training: Adapter) -> None:
        """Headshots, and looks at an adapter in training."""
        resources, settings = self._resources, self._resources.base.settings
        drawing, holder = resources.drawing(resources.all)
        picture, look = settings.picture_px, settings.resolution_px
        for rank in self._ranks():  # adapters of before another preset was chosen
            self._asked(drawing, holder, self._adapter(resources.base.dtype, rank), picture, 1)
        merged = training.to(resources.base.device, resources.base.dtype)
        self._settle_batches(drawing, holder, merged, picture)
        looked = training if holder is resources.slot else merged
        anybody = self._recipe.prior_count if self._recipe.prior_share else 0
        for side, count in ((look, len(PROMPTS) * len(SEEDS)), (min(self._recipe.resolutions_px), anybody)):
            for size in set(_frame(side).batches(count, holder.batch_tokens)):
                self._asked(drawing, holder, looked, side, size)

    def _settle_batches(self, drawing: Base, holder: Holder, adapter: Adapter, side_px: int) -> None:
        """Warm each size of batch, and let serving weights draw as many together as take no longer than may
        be waited for: twice as many take twice as long at most."""
        size, seconds, tokens = 1, 0.0, _frame(side_px).tokens
        holder.batch_tokens = BATCH_TOKENS  # it may be settled again, where nothing is compiled after all
        while size <= BATCH_PICTURES:
            longer = size > 1 and size * tokens > holder.batch_tokens
            if longer and (not isinstance(holder, Serving) or 2 * seconds > BATCH_SECONDS):
                return
            try:
                seconds = self._asked(drawing, holder, adapter, side_px, size)
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                return
            if isinstance(holder, Serving):
                holder.batch_tokens = max(holder.batch_tokens, size * tokens)
            size *= 2

    def _asked(self, drawing: Base, holder: Holder, adapter: Adapter, side_px: int, size: int) -> float:
        """Seconds of the last of some calls for so many pictures."""
        for _ in range(WARM_CALLS):
            begun = time.monotonic()
            _ask(drawing, holder, adapter, side_px, side_px, size, self._resources.base.settings.guidance)
            self._resources.wait()
        return time.monotonic() - begun

    def _ranks(self) -> set[int]:
        """Of adapters that there may be, beside the recipe's own."""
        settings = self._resources.base.settings
        return {recipe_for(preset, settings).rank for preset in PRESETS} - {self._recipe.rank}

    def _training_shapes(self) -> list[tuple[int, int]]:
        """The squares, and one of each size that is none: from two on, the number of tokens is left open."""
        sides = self._recipe.resolutions_px
        oblongs = [bucket(1.5, side, self._recipe.max_aspect) for side in sides]
        return list(dict.fromkeys([*((side, side) for side in sides), *oblongs]))

    def _adapter(self, dtype: torch.dtype, rank: int = 0) -> Adapter:
        """rank: the recipe's if none is given."""
        info = AdapterInfo(WARM_UP.adapter_id, WARM_UP.person_id, "", rank or self._recipe.rank)
        generator = torch.Generator().manual_seed(0)
        fresh = self._resources.slot.fresh(info, generator)
        for name, tensor in fresh.tensors.items():
            if name.endswith("lora_B"):  # what changes nothing would prove nothing of the merge
                tensor.normal_(std=0.1, generator=generator)
        return fresh.to(self._resources.base.device, dtype)


def _compile(resources: Resources, backend: str) -> None:
    if resources.serving is not None:
        compile_blocks(resources.serving.base.transformer, backend, dynamic=False)
    compile_blocks(resources.base.transformer, backend, dynamic=None)


def _ask(
    base: Base, holder: Holder, adapter: Adapter, width_px: int, height_px: int, batch: int, guidance: float,
    take: Callable[[Tensor], None] = lambda made: None,
) -> None:  # fmt: skip
    """Of grey, as a shoot or a training does: what is said is encoded before the adapter is there."""
    text = base.encode_text("warm-up")
    tokens = Frame(height_px, width_px, 1, 1.0).tokens
    latents = torch.zeros(batch, tokens, base.transformer.config.in_channels, device=base.device)
    rows, columns = height_px // VAE_FACTOR, width_px // VAE_FACTOR
    sigmas, texts = torch.full((batch,), 0.5), [text] * batch
    modulation = base.modulation(sigmas, torch.stack([each.pooled for each in texts]), guidance)
    with holder.holding(adapter):
        take(base.predict(latents, sigmas, texts, rows, columns, guidance, modulation))


def _error(made: Tensor, wanted: Tensor | None) -> float:
    """Relative; with nothing to hold it against 0, or infinite where a number is not finite."""
    if wanted is None:
        return 0.0 if bool(torch.isfinite(made).all()) else math.inf
    return relative_error(made, wanted)


def _frame(side_px: int) -> Frame:
    return Frame(side_px, side_px, 1, 1.0)


def _graphs() -> int:
    """Compiled so far, with kernels of our own. Asked only where something is: the compiler takes seconds to
    import."""
    counters: Any = torch._dynamo.utils.counters
    return int(counters["stats"]["unique_graphs"]) + len(flux_kernels.compiled)
