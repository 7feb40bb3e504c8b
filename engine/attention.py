"""Which of torch's attention kernels a GPU is fastest with, by a short measurement, for training and drawing.

A kernel that fails, or is not near the plain computation, is left out. cuDNN's is twice as fast as the
others at FLUX's size, but reads gradients of more than one layout wrong (`engine.lean_blocks` gives it one):
the warm-up takes several steps, and a training that diverges goes on with the next best
(`engine.acceleration`).
"""

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

log = logging.getLogger(__name__)

SAFE = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
KERNELS = {"cudnn": SDPBackend.CUDNN_ATTENTION, **SAFE}
ROUNDS = 5
# Relative to the plain computation in float32; bfloat16 itself rounds to .004.
TOLERANCE = 0.03

Measure = Callable[[Callable[[], object]], float]


@dataclass(frozen=True)
class Attention:
    """The chosen kernels by name; None = torch's own choice."""

    training: str | None = None
    drawing: str | None = None
    safe: str | None = field(default=None, compare=False)  # the next best for training after cuDNN's

    def while_drawing(self) -> AbstractContextManager[object]:
        """Without gradients alone."""
        return _first(self.drawing)

    def while_training(self) -> AbstractContextManager[object]:
        """And for whatever else is asked."""
        return _first(self.training)

    def without_cudnn(self) -> "Attention":
        """What trains where cuDNN's kernel is not to be trusted."""
        return replace(self, training=self.safe or "flash") if self.training == "cudnn" else self


def _first(name: str | None) -> AbstractContextManager[object]:
    """That kernel. The safe ones come after it: masks and an autoencoder's wide heads need them."""
    if name is None:
        return nullcontext()
    return sdpa_kernel([KERNELS[name], *SAFE.values()], set_priority=True)


def choose(
    device: torch.device, dtype: torch.dtype, heads: int, width: int, lengths: Sequence[int], measure: Measure
) -> Attention:
    """Both kernels, by sequences of so many tokens: the first is measured, all are checked. `measure`:
    seconds that a call takes on the device."""
    generator = torch.Generator(device).manual_seed(0)

    def drawn(tokens: int) -> list[Tensor]:
        shape = (1, tokens, heads, width)  # as the transformer has them in memory
        made = (torch.randn(shape, generator=generator, device=device, dtype=dtype) for _ in range(3))
        return [each.transpose(1, 2) for each in made]

    inputs = [drawn(tokens) for tokens in dict.fromkeys(lengths)]
    with torch.enable_grad():  # whoever asks may be about to draw
        training = _by_speed([[each.requires_grad_() for each in given] for given in inputs], measure)
    drawing = _by_speed([[each.detach() for each in given] for given in inputs[:1]], measure)
    safe = [name for name in training if name in SAFE]
    return Attention(*(names[0] if names else None for names in (training, drawing, safe)))


def _by_speed(inputs: list[list[Tensor]], measure: Measure) -> list[str]:
    """The kernels that are right for all inputs, the one that is fastest with the first of them first."""
    exact = [_exact(given) for given in inputs]
    seconds: dict[str, float] = {}
    for name, kernel in KERNELS.items():
        try:
            with sdpa_kernel(kernel):
                if all(_right(given, wanted) for given, wanted in zip(inputs, exact, strict=True)):
                    seconds[name] = measure(lambda: _run(inputs[0]))
        except RuntimeError as error:
            log.info("attention_kernel_left_out", extra={"kernel": name, "problem": str(error)[:200]})
    said = {name: round(value * 1e3, 3) for name, value in seconds.items()}
    log.info("attention_measured", extra={"gradient": inputs[0][0].requires_grad, "ms": said})
    return sorted(seconds, key=lambda name: seconds[name])


def _exact(inputs: list[Tensor]) -> list[Tensor]:
    """Of the first head alone: all of FLUX's heads take 8 GB in the plain computation, more than there may
    be."""
    first = [each.detach()[:, :1].float().requires_grad_(each.requires_grad) for each in inputs]
    with sdpa_kernel(SDPBackend.MATH):
        return _run(first)


def _right(inputs: list[Tensor], exact: list[Tensor]) -> bool:
    return all(_near(made[:, :1], wanted) for made, wanted in zip(_run(inputs), exact, strict=True))


def _run(inputs: list[Tensor]) -> list[Tensor]:
    """The result, and the gradients where the inputs ask for them."""
    query, key, value = inputs
    made = scaled_dot_product_attention(query, key, value)
    if not inputs[0].requires_grad:
        return [made]
    return [made, *torch.autograd.grad(made.float().square().sum(), inputs)]


def _near(made: Tensor, exact: Tensor) -> bool:
    return relative_error(made, exact) < TOLERANCE


def relative_error(made: Tensor, exact: Tensor) -> float:
    """Infinite where a number is not finite."""
    error = float(((made.float() - exact).norm() / exact.norm()).detach())
    return error if math.isfinite(error) else math.inf


def on_gpu(call: Callable[[], object]) -> float:
    """Median seconds of a call by the GPU's own clock."""
    times = list[float]()
    for _ in range(ROUNDS):
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begun.record()
        call()
        ended.record()
        ended.synchronize()
        times.append(begun.elapsed_time(ended) / 1000)
    return sorted(times)[len(times) // 2]
