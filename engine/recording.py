"""What a GPU did once, again without the processor: CUDA graphs.

A pass of FLUX.1-dev is thousands of kernels, and at small sizes the processor takes longer to launch them
than the GPU to run them; a recorded pass is launched as a whole. It keeps the memory of what it computed
between, so it is made only where the card keeps room for everything else.
"""

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.room import room, set_aside

log = logging.getLogger(__name__)

# For others' work beside what is recorded: headshots, decoding, a merge.
RESERVE_MIB = 6 * 1024
_MIB = 1 << 20

Outputs = tuple[Tensor, ...]
Act = Callable[[], Outputs]


@dataclass(frozen=True)
class Recording:
    """`replay` writes `outputs` again, from what lies in the memory that was read when it was recorded."""

    outputs: Outputs
    replay: Callable[[], None]


class Recorder(Protocol):
    """Records what reads and writes the same memory each time."""

    def record(self, act: Act) -> Recording | None:
        """None where it cannot be, for want of room say. `act` has run before, and may run again for it."""

    def forget(self) -> None:
        """Nothing of what was recorded is replayed any more."""


class Replays:
    """A function of tensors that is recorded at the second call of each kind, and replayed from then on.

    The first call runs as it is: kernels are chosen and compiled then. Not for several threads.
    """

    def __init__(
        self, act: Callable[..., Outputs], device: torch.device, recorder: Recorder | None = None
    ) -> None:
        """act(key, *inputs) must depend on nothing but key, inputs, and tensors that stay where they are.
        Without a recorder every call runs as it is."""
        self._act, self._device, self._recorder = act, device, recorder
        self._seen, self._gave_up = set[Hashable](), set[Hashable]()
        self._recorded: dict[Hashable, tuple[Outputs, Recording]] = {}

    def __call__(self, key: Hashable, *inputs: Tensor) -> Outputs:
        """What `act` gives, until the next call. key: everything that is no tensor, and the tensors' shapes.
        Inputs are brought to the device."""
        wanted = key in self._seen - self._gave_up and key not in self._recorded
        if self._recorder is not None and wanted:
            self._record(self._recorder, key, inputs)
        if key not in self._recorded:
            made = self._act(key, *(each.to(self._device) for each in inputs))
            self._seen.add(key)
            return made
        fixed, recording = self._recorded[key]
        for mine, given in zip(fixed, inputs, strict=True):
            mine.copy_(given)
        recording.replay()
        return recording.outputs

    def forget(self) -> None:
        """Give the memory back; what is asked again is recorded again."""
        self._recorded.clear()
        self._gave_up.clear()
        if self._recorder is not None:
            self._recorder.forget()

    def _record(self, recorder: Recorder, key: Hashable, inputs: Outputs) -> None:
        fixed = tuple(each.to(self._device, copy=True) for each in inputs)
        recording = recorder.record(lambda: self._act(key, *fixed))
        if recording is None:
            self._gave_up.add(key)
        else:
            self._recorded[key] = fixed, recording


class GraphRecorder:
    """`Recorder` by CUDA graphs. All that one records shares its memory: one runs at a time."""

    def __init__(self, device: torch.device, reserve_mib: int = RESERVE_MIB) -> None:
        self._device, self._reserve = device, reserve_mib * _MIB
        self._kept = 0
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, act: Act) -> Recording | None:
        """See `Recorder`."""
        try:
            kept = max(self._kept, self._memory_of(act))
        except torch.OutOfMemoryError:  # measuring keeps what is made beside what was made before
            return None
        if self._room() - kept < self._reserve:
            log.info("not_recorded", extra={"needed_mib": kept // _MIB, "room_mib": self._room() // _MIB})
            return None
        graph, here = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        try:
            # The stream is this one again, whatever fails. Other threads' work is no part of a recording.
            with (
                torch.cuda.stream(here),
                torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"),
            ):
                outputs = act()
        except RuntimeError as error:  # it goes on unrecorded; a GPU that is lost says so at the next call
            log.warning("not_recorded", extra={"needed_mib": kept // _MIB, "problem": str(error)[:200]})
            return None
        self._keep(kept)
        return Recording(outputs, graph.replay)

    def forget(self) -> None:
        """See `Recorder`. A pool that nobody uses any more must not be used again."""
        self._pool = torch.cuda.graph_pool_handle()
        self._keep(0)

    def _keep(self, size: int) -> None:
        self._kept = size
        set_aside(self, size)

    def _memory_of(self, act: Act) -> int:
        """Bytes that it takes at its peak."""
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        act()
        return torch.cuda.max_memory_allocated(self._device) - before

    def _room(self) -> int:
        """Bytes that nobody else needs: its own pool is used again."""
        return room(self._device) + self._kept
