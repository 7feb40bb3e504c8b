"""Weights that wait in the host's memory and are brought to the device block by block, one ahead of its use.

Two buffers on the device are all it takes there: one that is computed with, one that is being filled.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ALIGN_BYTES = 256


@dataclass(frozen=True)
class _Part:
    """Where a tensor lies in its crate."""

    begin: int
    shape: torch.Size
    dtype: torch.dtype

    def of(self, buffer: Tensor) -> Tensor:
        """The tensor, in a copy of the crate."""
        end = self.begin + math.prod(self.shape) * self.dtype.itemsize
        return buffer[self.begin : end].view(self.dtype).view(self.shape)


class Crate:
    """One block's weights on the host, one after another in one piece of memory."""

    def __init__(self, conveyor: "Conveyor", index: int) -> None:
        self._conveyor, self._index = conveyor, index
        self._places: list[list[_Part]] = []
        self._waiting: list[tuple[_Part, Tensor]] = []
        self.num_bytes = 0
        self.content = torch.empty(0, dtype=torch.uint8)

    def add(self, parts: Sequence[Tensor]) -> int:
        """Take tensors in; returns what `get` calls them."""
        place = []
        for tensor in parts:
            part = _Part(self.num_bytes, tensor.shape, tensor.dtype)
            self._waiting.append((part, tensor.cpu()))
            self.num_bytes += -(-tensor.numel() * tensor.dtype.itemsize // ALIGN_BYTES) * ALIGN_BYTES
            place.append(part)
        self._places.append(place)
        return len(self._places) - 1

    def close(self) -> None:
        """Nothing more is added. For a GPU the memory is pinned, so that it is read while that computes."""
        pinned = self._conveyor.device.type == "cuda"
        self.content = torch.empty(self.num_bytes, dtype=torch.uint8, pin_memory=pinned)
        for part, tensor in self._waiting:
            part.of(self.content).copy_(tensor)
        self._waiting.clear()

    def get(self, place: int) -> list[Tensor]:
        """The tensors on the device; they hold until the next crate is asked for."""
        buffer = self._conveyor.arrived(self._index)
        return [part.of(buffer) for part in self._places[place]]


class Conveyor:
    """Crates in the order of their blocks. A training goes through them forwards and then backwards, so the
    next one is guessed from the direction; a wrong guess costs a wait, never a wrong weight. Not for several
    threads at a time."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._crates: list[Crate] = []
        self._buffers: list[Tensor] = []
        self._held: list[int | None] = [None, None]
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._ready: list[torch.cuda.Event | None] = [None, None]
        self._current: int | None = None

    def crate(self) -> Crate:
        """One more, for the block that comes after all those before."""
        self._crates.append(Crate(self, len(self._crates)))
        return self._crates[-1]

    def arrived(self, index: int) -> Tensor:
        """The crate's content on the device, once what was queued before has used the last one."""
        if index != self._current:
            self._advance(index)
        return self._buffers[self._held.index(index)]

    def _advance(self, index: int) -> None:
        if not self._buffers:
            most = max(crate.num_bytes for crate in self._crates)
            self._buffers = [torch.empty(most, dtype=torch.uint8, device=self.device) for _ in range(2)]
        step = 1 if self._current is None or index > self._current else -1
        if index not in self._held:
            self._load(index, 0 if self._held[0] != self._current else 1)
        side = self._held.index(index)
        ready = self._ready[side]
        if ready is not None:
            torch.cuda.current_stream(self.device).wait_event(ready)
        self._current = index
        following = index + step if 0 <= index + step < len(self._crates) else index - step
        if 0 <= following < len(self._crates) and following not in self._held:
            self._load(following, 1 - side)

    def _load(self, index: int, side: int) -> None:
        """Begin to fill a buffer, after everything that is queued to read from it."""
        crate, buffer = self._crates[index], self._buffers[side]
        self._held[side] = None  # whatever fails below, it is not taken for being there
        if self._stream is None:
            buffer[: crate.num_bytes].copy_(crate.content)
        else:
            self._stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(self._stream):
                buffer[: crate.num_bytes].copy_(crate.content, non_blocking=True)
                self._ready[side] = self._stream.record_event()
        self._held[side] = index
