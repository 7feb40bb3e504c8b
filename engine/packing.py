"""Where an adapter's numbers lie for lean branches: in the base's type, one after another as they are
computed with. One gather brings all of them there, and one brings their gradient back."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

Sides = tuple[int, int]  # outputs, inputs


@dataclass(frozen=True)
class Member:
    """A linear in a branch: where its A (rank, inputs) begins among an adapter's numbers; its B (outputs,
    rank) follows."""

    first: int
    outputs: int
    inputs: int


class Packing:
    """Of adapters of one rank. `shapes`: of down and up of each branch, as `LeanBranch` has them."""

    def __init__(self, branches: Sequence[Sequence[Member]], rank: int, device: torch.device) -> None:
        """branches: the members of each."""
        self.shapes = [shape for members in branches for shape in _shapes(members, rank)]
        count = sum(rank * (each.outputs + each.inputs) for members in branches for each in members)
        # Of each number that is computed with, which of the adapter's it is; the one after the last is 0.
        self._source = torch.cat(
            [part for members in branches for part in _sources(members, rank, count, device)]
        ).to(torch.int32)
        places = torch.arange(len(self._source), dtype=torch.int32, device=device)
        self._target = torch.zeros(count + 1, dtype=torch.int32, device=device)
        self._target[self._source.long()] = places
        self._target = self._target[:count].clone()

    def parts(self, flat: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """An adapter's numbers (see `engine.lora.packed`) -> down and up of each branch in that type."""
        numbers = torch.cat([flat.to(dtype), flat.new_zeros(1, dtype=dtype)]).index_select(0, self._source)
        sizes = [rows * columns for rows, columns in self.shapes]
        return [
            part.view(shape) for part, shape in zip(torch.split(numbers, sizes), self.shapes, strict=True)
        ]

    def flat(self, parts: Sequence[Tensor]) -> Tensor:
        """Inverse of `parts`, for gradients: float32."""
        return torch.cat([part.flatten() for part in parts]).index_select(0, self._target).float()


def _shapes(members: Sequence[Member], rank: int) -> list[Sides]:
    ranks = rank * len(members)
    return [(ranks, members[0].inputs), (sum(each.outputs for each in members), ranks)]


def _sources(members: Sequence[Member], rank: int, nothing: int, device: torch.device) -> list[Tensor]:
    (ranks, inputs), (outputs, _) = _shapes(members, rank)
    down = torch.cat(
        [torch.arange(each.first, each.first + rank * inputs, device=device) for each in members]
    )
    up = torch.full((outputs, ranks), nothing, device=device)
    edges = [0]
    for each in members:
        edges.append(edges[-1] + each.outputs)
    for place, (each, (top, bottom)) in enumerate(zip(members, pairwise(edges), strict=True)):
        first = each.first + rank * inputs
        own = torch.arange(first, first + rank * each.outputs, device=device).view(each.outputs, rank)
        up[top:bottom, place * rank : (place + 1) * rank] = own
    return [down, up.flatten()]
