"""A base whose predictions are recorded and replayed, for weights that are written in place: see
`engine.recording`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.models import Base, TextCondition
from engine.recording import Recorder, Replays

Key = tuple[int, int, int, float, bool]  # batch, rows, columns, guidance, whether modulation is given


@dataclass(frozen=True)
class RecordedBase(Base):
    """A `Base` for drawing. What it predicts holds until it is asked again."""

    replays: Replays | None = None

    @classmethod
    def of(cls, base: Base, transformer: Any, recorder: Recorder | None) -> "RecordedBase":
        """Another transformer in that base. Without a recorder nothing is recorded."""
        own = base.parts() | {"transformer": transformer}
        plain = Base(**own)

        def act(
            key: Key, latents: Tensor, sigmas: Tensor, tokens: Tensor, pooled: Tensor, *modulation: Tensor
        ) -> tuple[Tensor]:
            texts = [TextCondition(tokens[place], pooled[place]) for place in range(key[0])]
            return (plain.predict(latents, sigmas, texts, *key[1:4], *modulation),)

        return cls(**own, replays=Replays(act, base.device, recorder) if recorder else None)

    def predict(
        self,
        latents: Tensor,
        sigmas: Tensor,
        texts: Sequence[TextCondition],
        rows: int,
        columns: int,
        guidance: float,
        modulation: Tensor | None = None,
    ) -> Tensor:
        """See `Base.predict`."""
        if self.replays is None:
            return super().predict(latents, sigmas, texts, rows, columns, guidance, modulation)
        tokens, pooled = torch.stack([text.tokens for text in texts]), torch.stack([t.pooled for t in texts])
        key = (len(latents), rows, columns, guidance, modulation is not None)
        given = () if modulation is None else (modulation,)
        (made,) = self.replays(key, latents, sigmas, tokens, pooled, *given)
        return made

    def forget_recordings(self) -> None:
        """Where addresses change, or memory is wanted back."""
        if self.replays is not None:
            self.replays.forget()
