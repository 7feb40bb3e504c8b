"""Captions as the text encoders read them: anew at every step while they learn, once when they rest."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.demo_base.latents import Bank
from engine.demo_base.text import TextEncoders, Tokens

BATCH = 1024


@dataclass(frozen=True)
class Said:
    """states: (n, TEXT_TOKENS, width). pooled: (n, width). at: (n, TEXT_TOKENS), where a trigger stands."""

    states: Tensor
    pooled: Tensor
    at: Tensor

    def __getitem__(self, index: Tensor) -> "Said":
        return Said(self.states[index].float(), self.pooled[index].float(), self.at[index])

    def where(self, chosen: Tensor, other: "Said") -> "Said":
        """Own rows where chosen (n,), else the other's."""
        return Said(
            torch.where(chosen[:, None, None], self.states, other.states),
            torch.where(chosen[:, None], self.pooled, other.pooled),
            torch.where(chosen[:, None], self.at, other.at),
        )


class Reader(Protocol):
    """What a training asks for captions."""

    def read(self, pick: Tensor, named: Tensor) -> Said:
        """Of those portraits of the bank (n,), with a trigger word where named (n,)."""

    def silence(self, count: int) -> Said:
        """The empty caption, so many times."""


class Learning:
    """Encoders that are trained with the transformer: gradients go through what they say."""

    def __init__(self, text: TextEncoders, bank: Bank) -> None:
        self._text, self._bank, self._nothing = text, bank, _nothing(text, bank)

    def read(self, pick: Tensor, named: Tensor) -> Said:
        """See `Reader`."""
        return _read(self._text, self._bank.named[pick].where(named, self._bank.plain[pick]))

    def silence(self, count: int) -> Said:
        """See `Reader`."""
        return _times(_read(self._text, self._nothing), count)


class Resting:
    """Encoders that learn no more: all of the bank is read at once, and kept in half precision."""

    @torch.no_grad()
    def __init__(self, text: TextEncoders, bank: Bank) -> None:
        self._plain, self._named = _read_all(text, bank.plain), _read_all(text, bank.named)
        self._nothing = _read_all(text, _nothing(text, bank))

    def read(self, pick: Tensor, named: Tensor) -> Said:
        """See `Reader`."""
        return self._named[pick].where(named, self._plain[pick])

    def silence(self, count: int) -> Said:
        """See `Reader`."""
        return _times(self._nothing, count)


def _nothing(text: TextEncoders, bank: Bank) -> Tokens:
    tokens, device = text.tokenize([""]), bank.latents.device
    return Tokens(tokens.t5.to(device), tokens.clip.to(device))


def _times(said: Said, count: int) -> Said:
    return said[torch.zeros(count, dtype=torch.long, device=said.pooled.device)]


def _read(text: TextEncoders, tokens: Tokens) -> Said:
    states, pooled = text(tokens)
    return Said(states, pooled, text.named(tokens))


def _read_all(text: TextEncoders, tokens: Tokens) -> Said:
    parts = [_read(text, tokens[slice(i, i + BATCH)]) for i in range(0, len(tokens.t5), BATCH)]
    return Said(
        torch.cat([part.states.half() for part in parts]),
        torch.cat([part.pooled.half() for part in parts]),
        torch.cat([part.at for part in parts]),
    )
