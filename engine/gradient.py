"""The gradient of an adapter in training, in one piece; on a GPU recorded for each shape and replayed."""

from collections.abc import Mapping, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor

from engine import flow
from engine.batches import Draw
from engine.lora import Adapter, AdapterSlot
from engine.models import Base, TextCondition
from engine.recording import Recorder, Replays

Shape = tuple[int, int, int, bool]  # batch, rows, columns, whether modulation is known


class AdapterGradient:
    """Of one adapter, whose tensors stay where they are. Not for several threads."""

    def __init__(
        self,
        base: Base,
        slot: AdapterSlot,
        adapter: Adapter,
        guidance: float,
        accelerator: Accelerator,
        recorder: Recorder | None = None,
    ) -> None:
        """Without a recorder every pass is launched kernel by kernel."""
        self._base, self._slot, self._adapter, self._guidance = base, slot, adapter, guidance
        self._accelerator = accelerator
        self._passes = Replays(self._pass, base.device, recorder)
        self._foreseen: list[tuple[Draw, Tensor | None]] = []  # with its modulation, if it is known ahead

    def foresees(self, draws: Sequence[Draw]) -> bool:
        """Whether `foresee` was told of them."""
        return all(any(draw is known for known, _ in self._foreseen) for draw in draws)

    def foresee(self, draws: Sequence[Draw], texts: Mapping[str, TextCondition]) -> None:
        """Make at once what does not depend on the adapter, for the next draws that will be asked for."""
        made = self._base.modulation(
            torch.cat([draw.sigma for draw in draws]),
            _together([texts[draw.caption].pooled for draw in draws]),
            self._guidance,
        )
        self._foreseen = [(draw, None if made is None else made[place]) for place, draw in enumerate(draws)]

    def of(
        self, group: Sequence[Draw], texts: Mapping[str, TextCondition], share: float
    ) -> tuple[Tensor, Tensor]:
        """Mean loss of draws of one shape times their share of the step, and its gradient: all the adapter's
        numbers in the slot's order. Both hold until the next call. Raises torch.OutOfMemoryError."""
        view, said = group[0].view, [texts[draw.caption] for draw in group]
        known = [
            made for draw in group for known, made in self._foreseen if known is draw and made is not None
        ]
        modulation = [_together(known)] if len(known) == len(group) else []
        loss, gradient = self._passes(
            (len(group), view.rows, view.columns, bool(modulation)),
            _together([draw.view.latents for draw in group]),
            _together([draw.noise for draw in group]),
            _together([draw.view.weights for draw in group]),
            torch.cat([draw.sigma for draw in group]),
            _together([text.tokens for text in said]),
            _together([text.pooled for text in said]),
            torch.tensor(share),
            *modulation,
        )
        return loss, gradient

    def _pass(
        self,
        shape: Shape,
        clean: Tensor,
        noise: Tensor,
        weights: Tensor,
        sigmas: Tensor,
        tokens: Tensor,
        pooled: Tensor,
        share: Tensor,
        modulation: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        batch, rows, columns, _ = shape
        texts = [TextCondition(tokens[place], pooled[place]) for place in range(batch)]
        with self._slot.holding(self._adapter):
            noised = flow.noised(clean, noise, sigmas)
            predicted = self._base.predict(noised, sigmas, texts, rows, columns, self._guidance, modulation)
            loss = flow.velocity_loss(predicted, clean, noise, weights) * share
            self._accelerator.backward(loss)
            gradient = self._slot.gradient(self._adapter.info.rank)
        return loss.detach(), gradient

    def forget_recordings(self) -> None:
        """Give their memory back."""
        self._passes.forget()


def _together(tensors: Sequence[Tensor]) -> Tensor:
    """One alone is not copied: on the host a copy is the work of several threads, and waking them at each
    step took 17 ms on a machine of many cores."""
    return tensors[0][None] if len(tensors) == 1 else torch.stack(list(tensors))
