"""Which photo comes next: each as often as its weight says, and as evenly spread as chance allows."""

from collections.abc import Mapping, Sequence

import torch


def draw_round(keys: Sequence[str], weights: Mapping[str, float], generator: torch.Generator) -> list[str]:
    """As many draws as there are keys, in random order.

    A key of weight w (1 where none is given) comes floor(w n / sum) or ceil(w n / sum) times, and on average
    exactly that often: systematic resampling. With equal weights each comes once.
    """
    shares = torch.tensor([weights.get(key, 1.0) for key in keys], dtype=torch.float64)
    ends = (shares.cumsum(0) * (len(keys) / shares.sum())).round(decimals=9)
    offset = torch.rand(1, generator=generator, dtype=torch.float64)
    # How many of offset, 1 + offset, 2 + offset ... lie below each end; the last end is the number of keys.
    below = torch.ceil(ends - offset).clamp(min=0).long()
    below[-1] = len(keys)
    counts = torch.diff(below, prepend=torch.zeros(1, dtype=torch.long))
    drawn = [key for key, count in zip(keys, counts.tolist(), strict=True) for _ in range(count)]
    return [drawn[i] for i in torch.randperm(len(drawn), generator=generator).tolist()]


def draw_index(shares: Sequence[float], generator: torch.Generator) -> int:
    """An index, each as likely as its share; the shares need not sum to 1."""
    ends = torch.tensor(shares, dtype=torch.float64).cumsum(0)
    point = torch.rand(1, generator=generator, dtype=torch.float64) * ends[-1]
    return min(int(torch.searchsorted(ends, point, right=True)), len(shares) - 1)
