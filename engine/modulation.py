"""What modulates FLUX's blocks, for all of them at once and for as many passes ahead as are known.

Each block makes its shifts, scales and gates from the same few numbers: noise level, guidance and the pooled
text. That is a quarter of FLUX.1-dev's weights, read in each pass for a single row, 2.2 ms of it on an H200.
Nothing of it depends on the picture or on an adapter, so all levels of a picture, or of the next training
steps, take one reading.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.branch import joined


class Modulation(nn.Module):
    """In the place of a transformer's `time_text_embed`: it gives blocks all that they made of its own."""

    def __init__(self, embedder: Any, linears: Sequence[nn.Linear]) -> None:
        """The linears' weights become views of one."""
        super().__init__()
        self.embedder = embedder
        self.linear = joined(linears)
        self._known: Tensor | None = None

    def forward(self, *conditions: Tensor) -> Tensor:
        """Noise levels and guidances times 1000, (batch,) each, the latter where the base embeds them, and
        pooled texts (batch, width) -> (batch, all linears' outputs)."""
        return self.ahead(*conditions) if self._known is None else self._known

    def ahead(self, *conditions: Tensor) -> Tensor:
        """The same, of as many passes as are known."""
        made: Tensor = self.linear(functional.silu(self.embedder(*conditions)))
        return made

    @contextmanager
    def known(self, made: Tensor | None) -> Iterator[None]:
        """Give what was made `ahead`, (batch, all)."""
        self._known = made
        try:
            yield
        finally:
            self._known = None


def modulation_of(transformer: Any) -> Modulation | None:
    """None where each block makes its own."""
    found = transformer.time_text_embed
    return found if isinstance(found, Modulation) else None


def conditions(
    sigmas: Tensor, guidance: float | None, pooled: Tensor, dtype: torch.dtype
) -> tuple[Tensor, ...]:
    """As the transformer gives them to what it embeds them with. sigmas: (n,), pooled: (n, width)."""
    levels = sigmas.to(dtype) * 1000
    if guidance is None:
        return levels, pooled
    return levels, torch.full_like(levels, guidance) * 1000, pooled
