"""Pictures on their way from noise: a denoising step of one batch at a time, and a stop between any two.

Each picture has its own seeds and its own noise, so that it does not depend on its neighbours in the batch.
Knows no person, no measure and no file: whoever asked takes each picture when it is decoded.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine import flow
from engine.lora import Adapter
from engine.merging import Holder
from engine.models import VAE_FACTOR, Base, TextCondition
from engine.pictures import Pixels

# Together at most, however small: each size is warmed.
BATCH_PICTURES = 8
# How much of a picture's noise is its own where it shall resemble another: the composition stays, the
# expression and the details change.
OWN_NOISE = 0.4

Take = Callable[[int, Pixels], None]


@dataclass(frozen=True)
class Frame:
    """How pictures are drawn. guidance: the embedded one."""

    height_px: int
    width_px: int
    num_steps: int
    guidance: float

    @property
    def tokens(self) -> int:
        """Packed tokens of one picture."""
        return (self.height_px // (flow.PATCH * VAE_FACTOR)) * (self.width_px // (flow.PATCH * VAE_FACTOR))

    def batches(self, count: int, most_tokens: int) -> list[int]:
        """How many of so many are drawn together each time. Powers of two: each size is compiled, and those
        are few."""
        most, sizes = min(BATCH_PICTURES, max(1, most_tokens // self.tokens)), list[int]()
        while count > sum(sizes):
            sizes.append(1 << (min(most, count - sum(sizes)).bit_length() - 1))
        return sizes


@dataclass(frozen=True)
class Shot:
    """One picture. `prompt` is complete: the subject is filled in.

    seeds: its own is the last; those before are of the picture that it shall resemble, oldest first.
    """

    prompt: str
    seeds: tuple[int, ...]


@dataclass
class _Batch:
    """Pictures under way: their latents after `done` denoising steps. Those that were taken are in it no
    more. modulation: of each step, if any."""

    indexes: list[int]
    latents: Tensor
    modulation: Tensor | None
    done: int = 0


class Drawing:
    """The pictures of some shots, in batches as large as the holder allows. `take` gets each one's index and
    pixels, in order."""

    def __init__(
        self,
        base: Base,
        slot: Holder,
        adapter: Adapter,
        frame: Frame,
        shots: Mapping[int, Shot],
        take: Take,
    ) -> None:
        """Nothing is computed yet."""
        self._base, self._slot, self._adapter, self._frame = base, slot, adapter, frame
        self._shots, self._take = dict(shots), take
        self._left = list(self._shots)
        self._sigmas = flow.inference_sigmas(frame.num_steps, base.shift.mu(frame.tokens))
        self._batch: _Batch | None = None
        self._texts: dict[str, TextCondition] = {}

    @property
    def finished(self) -> bool:
        """Whether every picture was taken."""
        return not self._left

    @property
    def steps_left(self) -> int:
        """Quanta until all are drawn: each batch's denoising steps, and each picture's decoding."""
        batch, own = self._batch, 0
        if batch is not None:
            own = self._frame.num_steps - batch.done + len(batch.indexes)
        others = len(self._left) - (len(batch.indexes) if batch is not None else 0)
        return own + steps(self._frame, others, self._slot.batch_tokens)

    @torch.no_grad()
    def step(self) -> None:
        """One denoising step of the current batch, or one of its pictures decoded. Raises OutOfMemoryError,
        and what `take` raises: then the picture is decoded again at the next call."""
        if self._batch is None:
            size = self._frame.batches(len(self._left), self._slot.batch_tokens)[0]
            self._batch = self._start(self._left[:size])
        if self._batch.done < self._frame.num_steps:
            self._denoise(self._batch)
        else:
            self._decode(self._batch)

    def _decode(self, batch: _Batch) -> None:
        (picture,) = self._base.decode_latents(batch.latents[:1], self._frame.height_px, self._frame.width_px)
        self._take(batch.indexes[0], to_pixels(picture))
        self._left.remove(batch.indexes.pop(0))
        batch.latents = batch.latents[1:]
        if not batch.indexes:
            self._batch = None

    def _start(self, indexes: Sequence[int]) -> _Batch:
        channels = self._base.transformer.config.in_channels
        noise = [noise_of(self._shots[index].seeds, self._frame.tokens, channels) for index in indexes]
        return _Batch(list(indexes), torch.stack(noise).to(self._base.device), self._modulation(indexes))

    def _modulation(self, indexes: Sequence[int]) -> Tensor | None:
        """Of all steps: (steps, pictures, all)."""
        sigmas = self._sigmas[: self._frame.num_steps]
        pooled = torch.stack([self._text(self._shots[index].prompt).pooled for index in indexes])
        made = self._base.modulation(
            sigmas.repeat_interleave(len(indexes)), pooled.repeat(len(sigmas), 1), self._frame.guidance
        )
        return None if made is None else made.view(len(sigmas), len(indexes), -1)

    def _denoise(self, batch: _Batch) -> None:
        sigma, next_sigma = float(self._sigmas[batch.done]), float(self._sigmas[batch.done + 1])
        rows, columns = self._frame.height_px // VAE_FACTOR, self._frame.width_px // VAE_FACTOR
        sigmas = torch.full((len(batch.indexes),), sigma)
        texts = [self._text(self._shots[index].prompt) for index in batch.indexes]
        modulation = None if batch.modulation is None else batch.modulation[batch.done]
        with self._slot.holding(self._adapter):
            predicted = self._base.predict(
                batch.latents, sigmas, texts, rows, columns, self._frame.guidance, modulation
            )
        batch.latents = flow.euler_step(batch.latents, predicted, sigma, next_sigma)
        batch.done += 1

    def _text(self, prompt: str) -> TextCondition:
        if prompt not in self._texts:
            self._texts[prompt] = self._base.encode_text(prompt)
        return self._texts[prompt]


def steps(frame: Frame, count: int, most_tokens: int) -> int:
    """Quanta for so many pictures."""
    return len(frame.batches(count, most_tokens)) * frame.num_steps + count


def noise_of(seeds: Sequence[int], tokens: int, channels: int) -> Tensor:
    """(tokens, channels), unit variance, float32 on the CPU. Each further seed turns what the ones before
    gave a little towards its own noise; one seed alone is plain noise."""
    noise: Tensor | None = None
    for seed in seeds:
        own = torch.randn(tokens, channels, generator=torch.Generator().manual_seed(seed))
        noise = own if noise is None else math.sqrt(1 - OWN_NOISE**2) * noise + OWN_NOISE * own
    assert noise is not None, "a shot has a seed"
    return noise


def to_pixels(picture: Tensor) -> Pixels:
    """(3, height, width) in -1..1 -> (height, width, 3), uint8."""
    pixels: Pixels = ((picture.permute(1, 2, 0) + 1) * 127.5).round().to("cpu", torch.uint8).numpy()
    return pixels
