"""Train the transformer and the text encoders by flow matching, then teach them guidance.

Flow matching: x_sigma = (1 - sigma) x0 + sigma noise, target noise - x0; sigma logit-normal and shifted as
FLUX shifts 256 tokens; a tenth of the captions dropped. Most time goes to 128 px pictures, a quarter of
the tokens, then to 256 px. Last, guidance distillation as FLUX.1-dev has it (Meng et al. 2022,
arXiv:2210.03142): the averaged weights teach what classifier-free guidance would give, and the student
learns it in one pass from its guidance input.

The transformer computes in bfloat16 beside float32 weights that the optimizers move: on a CPU that is
three times as fast as float32, while autocast is six times slower. The face, a fifth of the picture and
always in the same place, weighs more in the loss than what is around it.
"""

import copy
import math
import time
from dataclasses import dataclass, replace

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from engine.demo_base import parallel
from engine.demo_base.architecture import Size, make_transformer
from engine.demo_base.latents import Bank
from engine.demo_base.optimizers import make_optimizers, set_rates
from engine.demo_base.portrait import FACE_CENTRE, FACE_SHARE
from engine.demo_base.reading import Learning, Reader, Resting, Said
from engine.demo_base.text import TextEncoders
from engine.demo_base.vocabulary import TEXT_TOKENS

GUIDANCE = (1.0, 4.0)
PRINT_EVERY = 200
LOOK_AT_CLOCK_EVERY = 10
FACE_WEIGHT = 2.0
"""How much more than the background the middle of the face counts, before the mean is set to 1."""


@dataclass(frozen=True)
class Phase:
    """seconds: wall clock. small: 128 px pictures. guided: learn guidance from the average so far.

    rate: learning rate of AdamW; Muon's is twice as high. decay_from: share of time from which rates sink.
    """

    name: str
    seconds: float
    batch: int
    small: bool = False
    guided: bool = False
    rate: float = 2e-3
    warmup_steps: int = 40
    decay_from: float = 1.0
    ema: float = 0.999


@dataclass(frozen=True)
class Conditions:
    """Shares of a batch: captions dropped, captions that name a trigger, and of those whose face is shown."""

    empty: float = 0.1
    named: float = 0.6
    shown: float = 0.85


class Denoiser:
    """What is trained together (transformer, text encoders), its running average and its fast copy."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self.trained = blank_denoiser(size).to(device)
        self.averaged = copy.deepcopy(self.trained).requires_grad_(False)
        self.fast = copy.deepcopy(self.trained[0]).to(torch.bfloat16)
        self._exact: list[Tensor] = list(self.trained[0].parameters())
        self._fast: list[Tensor] = list(self.fast.parameters())
        self._all: list[Tensor] = list(self.trained.parameters())
        self._kept: list[Tensor] = list(self.averaged.parameters())
        if device.type == "cuda":
            compile_blocks(self.fast)

    @property
    def text(self) -> TextEncoders:
        """The encoders in training."""
        text = self.trained[1]
        assert isinstance(text, TextEncoders)
        return text

    def restart(self) -> None:
        """Go on from the average, which is made the same in every process."""
        parallel.share_weights(self._kept)
        self.trained.load_state_dict(self.averaged.state_dict())

    @torch.no_grad()
    def push(self) -> None:
        """float32 weights -> fast copy."""
        torch._foreach_copy_(self._fast, self._exact)
        for fast in self._fast:
            fast.grad = None

    @torch.no_grad()
    def pull(self) -> None:
        """The fast copy's gradients -> float32, averaged over the processes, and clipped to a norm of 1."""
        for exact, fast in zip(self._exact, self._fast, strict=True):
            exact.grad = None if fast.grad is None else fast.grad.float()
        parallel.average([p.grad for p in self._all if p.grad is not None])
        nn.utils.clip_grad_norm_(self._all, 1.0)

    @torch.no_grad()
    def average(self, decay: float) -> None:
        torch._foreach_lerp_(self._kept, self._all, 1 - decay)


def compile_blocks(transformer: FluxTransformer2DModel) -> None:
    """One graph for each kind of block and each picture size: sizes left open fail (torch 2.11)."""
    transformer.compile_repeated_blocks(fullgraph=True, dynamic=False)


def blank_denoiser(size: Size) -> nn.ModuleList:
    """Transformer and text encoders. Modulations and output start at zero (Peebles & Xie 2023)."""
    transformer: FluxTransformer2DModel = make_transformer(size)
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
            if ".norm" in name or name in ("proj_out", "norm_out.linear"):
                nn.init.zeros_(module.weight)
    return nn.ModuleList([transformer, TextEncoders(size)])


def image_ids(tokens: int, device: torch.device) -> Tensor:
    """(tokens, 3) of a square picture: axis 1 the row, axis 2 the column, in units of 16 px of a 256 px
    picture.

    So a 128 px picture, used to train cheaply at first, covers the same ground with every second position.
    """
    side = math.isqrt(tokens)
    axis = (torch.arange(side, device=device) + 0.5) * (16 / side) - 0.5
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], -1).view(-1, 3)


def face_weights(tokens: int, device: torch.device) -> Tensor:
    """(tokens, 1), mean 1: a soft hill over the place where `portrait.py` puts the face."""
    side = math.isqrt(tokens)
    axis = (torch.arange(side, device=device) + 0.5) / side
    down, across = torch.meshgrid(axis - FACE_CENTRE[1], axis - FACE_CENTRE[0], indexing="ij")
    hill = torch.exp(-(((down**2 + across**2) / (0.6 * FACE_SHARE) ** 2) ** 2))
    weights: Tensor = (1 + FACE_WEIGHT * hill).view(-1, 1)
    return weights / weights.mean()


def velocity(
    transformer: nn.Module, noisy: Tensor, sigma: Tensor, guidance: Tensor, states: Tensor, pooled: Tensor
) -> Tensor:
    """One pass of the transformer in its own precision, float32 at both ends."""
    dtype = next(transformer.parameters()).dtype
    out: Tensor = transformer(
        hidden_states=noisy.to(dtype),
        timestep=sigma.to(dtype),
        guidance=guidance.to(dtype),
        encoder_hidden_states=states.to(dtype),
        pooled_projections=pooled.to(dtype),
        img_ids=image_ids(noisy.shape[1], noisy.device),
        txt_ids=torch.zeros(TEXT_TOKENS, 3, device=noisy.device),
        return_dict=False,
    )[0]
    return out.float()


def draw_sigma(count: int, tokens: int, device: torch.device) -> Tensor:
    """Logit-normal, one draw from each of `count` equal shares, then shifted by e^0.5: FLUX's shift of 256
    tokens. A quarter of the tokens average half of the noise, which the shift makes good."""
    even = (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
    normal = torch.special.ndtri(even.clamp(1e-4, 1 - 1e-4))[torch.randperm(count, device=device)]
    return torch.sigmoid(1.1 * normal + 0.5 + 0.5 * math.log(tokens / 256))


def train_denoiser(model: Denoiser, bank: Bank, phases: list[Phase], conditions: Conditions) -> None:
    """Run the phases one after the other; `model.averaged` holds the result."""
    for phase in phases:
        if phase.seconds > 0:
            _Run(model, bank, phase, conditions).go()


class _Run:
    """One phase. The encoders learn on small pictures only; later what they say is computed once."""

    def __init__(self, model: Denoiser, bank: Bank, phase: Phase, conditions: Conditions) -> None:
        self._model, self._bank, self._phase = model, bank, phase
        self._conditions = replace(conditions, empty=0.0) if phase.guided else conditions
        self._source = bank.small if phase.small else bank.latents
        if not phase.small:
            model.restart()
        self._teacher = _frozen(model) if phase.guided else None
        self._reader: Reader = (Learning if phase.small else Resting)(model.text, bank)

    def go(self) -> None:
        """Until the time is over, by the mean of the processes' clocks."""
        model, phase, device = self._model, self._phase, self._source.device
        optimizers = make_optimizers(model.trained, phase.rate, 2 * phase.rate)
        began, step, share = time.monotonic(), 0, 0.0
        while share < 1:
            set_rates(optimizers, step, share, phase.warmup_steps, phase.decay_from)
            model.push()
            loss = self._loss()
            torch.autograd.backward(loss)
            model.pull()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            model.average(min(phase.ema, (1 + step) / (10 + step)))
            step += 1
            if step % LOOK_AT_CLOCK_EVERY == 0:
                share = parallel.mean(time.monotonic() - began, device) / phase.seconds
            if step % PRINT_EVERY == 0 and parallel.rank() == 0:
                speed = step * phase.batch * parallel.size() / (time.monotonic() - began)
                print(f"{phase.name} {step} {share:.0%} {speed:.0f} pictures/s loss {loss:.4f}", flush=True)

    def _loss(self) -> Tensor:
        source, n = self._source, self._phase.batch
        device = source.device
        pick = torch.randint(len(source), (n,), device=device)
        clean = source[pick].float()
        noise, sigma = torch.randn_like(clean), draw_sigma(n, clean.shape[1], device)
        noisy = torch.lerp(clean, noise, sigma[:, None, None])
        guidance = torch.empty(n, device=device).uniform_(*GUIDANCE)
        said, identity = self._condition(pick)
        states = self._model.text.show(said.states, said.at, identity)
        target = noise - clean
        if self._teacher is not None:
            target = self._taught(noisy, sigma, guidance, states, said.pooled)
        made = velocity(self._model.fast, noisy, sigma, guidance, states, said.pooled)
        return ((made - target) ** 2 * face_weights(clean.shape[1], device)).mean()

    @torch.no_grad()
    def _taught(
        self, noisy: Tensor, sigma: Tensor, guidance: Tensor, states: Tensor, pooled: Tensor
    ) -> Tensor:
        """What classifier-free guidance would give."""
        assert self._teacher is not None
        empty = self._reader.silence(len(noisy))
        said = velocity(self._teacher, noisy, sigma, guidance, states, pooled)
        unsaid = velocity(self._teacher, noisy, sigma, guidance, empty.states, empty.pooled)
        return torch.lerp(unsaid, said, guidance[:, None, None])

    def _condition(self, pick: Tensor) -> tuple[Said, Tensor]:
        """Some captions name somebody by a trigger word, and most of those show the face; some are empty."""
        n, device, shares = len(pick), pick.device, self._conditions
        named = torch.rand(n, device=device) < shares.named
        shown = named & (torch.rand(n, device=device) < shares.shown)
        empty = torch.rand(n, device=device) < shares.empty
        said = self._reader.silence(n).where(empty, self._reader.read(pick, named))
        return said, self._bank.identity[pick] * shown[:, None]


def _frozen(model: Denoiser) -> nn.Module:
    """The average so far, as a teacher."""
    teacher: nn.Module = copy.deepcopy(model.averaged[0]).to(torch.bfloat16)
    if next(teacher.parameters()).is_cuda:
        compile_blocks(teacher)
    return teacher
