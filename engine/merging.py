"""Serving weights: a twin of the transformer for drawing, in which one person's adapter is merged.

The twin has weights of its own for the linears that adapters change, and shares all else with the base. An
adapter is merged from the base's pristine weights into the twin's, at fixed addresses, as one rounded sum:
nothing is ever subtracted, so nothing drifts, and what is there depends on that adapter alone. The base
itself is never written to: trainings go on beside it with branches of their own.

On a GPU one pass of `engine.merge_kernel` does it, to bfloat16 or float8; on a CPU, from other types than
bfloat16 and at ranks too large for it, a sum in float32 does, matrix by matrix. (`addmm` in bfloat16 rounds
the product before it is added: on an H200 three of ten numbers are then others.) Each way gives the same bits
each time.

For this the base's linears must be whole (`MemoryPlan.weights == "bf16"`); else adapters stay branches.
"""

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import compress
from operator import not_
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from engine.branch import joined_bias
from engine.float8 import Float8Linear, fits
from engine.flux_ops import kernels_allowed
from engine.lean_blocks import fusions
from engine.lora import BATCH_TOKENS, Adapter, AdapterSlot, remove_module
from engine.models import Base
from engine.recorded_base import RecordedBase
from engine.recording import Recorder

if TYPE_CHECKING:
    from engine.merge_kernel import Matrix, Merger


log = logging.getLogger(__name__)

ALIGN_BYTES = 16


class Holder(Protocol):
    """What can hold an adapter while a base is asked. batch_tokens: most of the tokens of pictures that it is
    asked for together."""

    batch_tokens: int

    def holding(self, adapter: Adapter) -> AbstractContextManager[None]:
        """The base with this adapter and no other, until the end of the context."""


@dataclass(frozen=True)
class _Place:
    """Where one of the base's linears lies in the twin: `rows` of a serving linear's weight, from `first`."""

    name: str
    pristine: Tensor
    serving: nn.Linear | Float8Linear
    first: int


class Serving:
    """The twin, and whose adapter it holds. Not for several threads."""

    def __init__(
        self,
        base: Base,
        slot: AdapterSlot,
        fuse: bool = True,
        float8: bool = False,
        recorder: Recorder | None = None,
    ) -> None:
        """Takes as much memory as the linears that adapters change; half with `float8`. The slot is the
        base's. With a recorder, what is asked is recorded. Raises OutOfMemoryError."""
        shared = (*base.transformer.parameters(), *base.transformer.buffers())
        twin = copy.deepcopy(base.transformer, {id(tensor): tensor for tensor in shared})
        twin.disable_gradient_checkpointing()
        self._places = _placed(twin, slot.linears, fuse, float8)
        self._at_once, self._one_by_one = _parted(self._places, base.device)
        self._merger: Merger | None = None  # of those at once; knows addresses, and lives while they stay
        self._proven, self._distrusted = set[int](), set[int]()  # ranks that the kernel is right for, or not
        self._held: Adapter | None = None
        self.released = False
        self.around: Callable[[], AbstractContextManager[object]] = nullcontext  # while it is asked
        self.batch_tokens = BATCH_TOKENS
        self.base = RecordedBase.of(base, twin, recorder)
        self.merges = 0
        self._restore()

    @contextmanager
    def holding(self, adapter: Adapter) -> Iterator[None]:
        """See `Holder`. Merges only where another adapter, or none, is there: adapters must not change. What
        is merged stays until another comes, or `forget`."""
        if self._held is not adapter:
            self._merge(adapter)
        with self.around():
            yield

    def release(self) -> None:
        """Give its memory back until the next adapter comes; only then do addresses change."""
        self._held, self._merger, self.released = None, None, True
        self.base.forget_recordings()
        for serving in {id(place.serving): place.serving for place in self._places}.values():
            _resize(serving, 0)

    def forget(self, adapter_id: str) -> None:
        """Leave nothing of an adapter."""
        if self._held is not None and self._held.info.adapter_id == adapter_id:
            try:
                self._restore()
            except torch.OutOfMemoryError:  # float8 is written by way of larger numbers
                self.release()

    @torch.no_grad()
    def _merge(self, adapter: Adapter) -> None:
        self._held = None  # whatever fails below, nobody is taken for being there
        self._allocate()
        for place in self._one_by_one if self._merge_at_once(adapter) else self._places:
            _write(place, *_halves(adapter, place))
        self._held = adapter
        self.merges += 1

    def _merge_at_once(self, adapter: Adapter) -> bool:
        """What the kernel takes, unless the adapter's rank is too large for it."""
        if self._merger is None and self._at_once:
            from engine.merge_kernel import Merger

            self._merger = Merger([_matrix(place) for place in self._at_once])
        rank = adapter.info.rank
        if self._merger is None or rank in self._distrusted or not self._merger.takes(rank):
            return False
        halves = [_halves(adapter, place) for place in self._at_once]
        if rank not in self._proven:
            return self._proves(self._merger, rank, halves)
        self._merger.merge(halves)
        return True

    def _proves(self, merger: "Merger", rank: int, halves: list[tuple[Tensor, Tensor]]) -> bool:
        """The first merge of a rank; whether it is right. Nothing is proven by what changes nothing."""
        if not all(bool(up.any()) for up, _ in halves):
            return False
        try:
            merger.merge(halves)
            return self._is_right(rank, halves)
        except ValueError:
            raise
        except torch.OutOfMemoryError:  # of the proof, mostly: it may come another time
            return False
        except Exception as error:  # noqa: BLE001 - whatever a compiler or a card lacks, there is another way
            log.error("no_merge_kernel", extra={"rank": rank, "problem": str(error)[:200]})
            self._distrusted.add(rank)
            return False

    def _is_right(self, rank: int, halves: list[tuple[Tensor, Tensor]]) -> bool:
        """Once for each rank, of every weight: what a compiler made of the kernel could give somebody another
        face."""
        from engine.merge_kernel import rounding_error

        pairs = zip(self._at_once, halves, strict=True)
        errors = [rounding_error(_matrix(each), *half) for each, half in pairs]
        right = all(error <= 1 for error in errors)  # NaN is no number that is less
        (self._proven if right else self._distrusted).add(rank)
        if not right:
            log.error(
                "merge_kernel_is_wrong",
                extra={"rank": rank, "errors": len([e for e in errors if not e <= 1])},
            )
        return right

    def _allocate(self) -> None:
        self.released = False
        for place in self._places:
            _resize(place.serving, place.serving.out_features)

    @torch.no_grad()
    def _restore(self) -> None:
        self._held = None
        self._allocate()
        for place in self._places:
            if isinstance(place.serving, Float8Linear):
                place.serving.write(place.first, place.pristine)
            else:
                _rows(place).copy_(place.pristine)


def _resize(serving: nn.Linear | Float8Linear, outputs: int) -> None:
    if len(serving.weight) != outputs:
        serving.weight.data = serving.weight.new_empty(outputs, serving.in_features)


def _parted(places: list[_Place], device: torch.device) -> tuple[list[_Place], list[_Place]]:
    """Those that a kernel takes, and the others."""
    kernels = {float8: has_kernel(device, float8) for float8 in {_is_float8(each) for each in places}}
    if not any(kernels.values()):
        return [], places
    from engine.merge_kernel import fits

    taken = [kernels[_is_float8(each)] and fits(_matrix(each)) for each in places]
    return list(compress(places, taken)), list(compress(places, map(not_, taken)))


def has_kernel(device: torch.device, float8: bool = False) -> bool:
    """Whether merging has a kernel there that may be used, or one to float8. Nothing of it is loaded where
    there is no GPU."""
    if device.type != "cuda" or not kernels_allowed():
        return False
    from engine.merge_kernel import usable

    return usable(device, float8)


def _matrix(place: _Place) -> "Matrix":
    """As the kernel is given it."""
    from engine.merge_kernel import Matrix

    scale = place.serving.scale[_span(place)] if isinstance(place.serving, Float8Linear) else None
    return Matrix(place.pristine, _rows(place), scale)


def _is_float8(place: _Place) -> bool:
    return isinstance(place.serving, Float8Linear)


def _halves(adapter: Adapter, place: _Place) -> tuple[Tensor, Tensor]:
    """up and down, rounded as the base would round a branch's weights; the sum is rounded once."""
    up, down = (adapter.tensors[f"{place.name}.lora_{half}"] for half in "BA")
    return _plain(up.to(place.pristine.dtype)), _plain(down.to(place.pristine.dtype))


def _plain(half: Tensor) -> Tensor:
    """As the kernel reads it."""
    return half.contiguous() if half.data_ptr() % ALIGN_BYTES == 0 else half.clone()


def _write(place: _Place, up: Tensor, down: Tensor) -> None:
    """serving = pristine + up @ down; alpha = rank, so the scale is 1."""
    merged = torch.addmm(place.pristine.float(), up.float(), down.float())
    if isinstance(place.serving, Float8Linear):
        place.serving.write(place.first, merged)
    else:
        _rows(place).copy_(merged)


def _rows(place: _Place) -> Tensor:
    weight: Tensor = place.serving.weight.detach()
    return weight[_span(place)]


def _span(place: _Place) -> slice:
    return slice(place.first, place.first + len(place.pristine))


def _placed(twin: nn.Module, linears: dict[str, nn.Linear], fuse: bool, float8: bool) -> list[_Place]:
    """Give the twin serving linears in place of all that adapters change."""
    places, left = list[_Place](), dict(linears)
    for path, module in list(twin.named_modules()):
        for fused, names in fusions(module).items():
            members = [f"{path}.{name}" for name in names]
            there = hasattr(module, fused)  # the slot fused them
            if set(members) <= left.keys() and (fuse or there):
                places += _serve(module, fused, {name: left.pop(name) for name in members}, float8)
                for name in () if there else names:
                    remove_module(module, name)
                module.fused_projections = True  # what diffusers' attention asks
    for path, linear in left.items():
        parent, _, name = path.rpartition(".")
        places += _serve(twin.get_submodule(parent), name, {path: linear}, float8)
    return places


def _serve(parent: nn.Module, name: str, members: dict[str, nn.Linear], float8: bool) -> list[_Place]:
    """Put one serving linear there that stands for its members, one above another."""
    linears = list(members.values())
    pristine = [linear.weight.detach() for linear in linears]
    outputs, inputs = sum(len(weight) for weight in pristine), pristine[0].shape[1]
    bias: Any = joined_bias(linears)
    serving: nn.Linear | Float8Linear
    if float8 and all(fits(linear) for linear in linears):
        serving = Float8Linear(outputs, inputs, bias, pristine[0].device)
    else:
        serving = nn.Linear(inputs, outputs, bias=False, device="meta")
        serving.weight = nn.Parameter(pristine[0].new_empty(outputs, inputs), requires_grad=False)
        serving.bias = bias
    setattr(parent, name, serving)
    places, first = [], 0
    for path, weight in zip(members, pristine, strict=True):
        places.append(_Place(path, weight, serving, first))
        first += len(weight)
    return places
