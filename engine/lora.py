"""Adapters: one person's LoRA weights, their file, and the one slot of the base that they can sit in.

The base has exactly one set of LoRA branches. Activating an adapter points the slot's parameters at that
adapter's tensors: nothing is copied, nothing is merged, and two people's adapters cannot be active at once.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from engine.branch import Branch, LeanBranch
from engine.durable_files import write_atomically
from engine.errors import AdapterCorrupt
from engine.lean_blocks import fusions, make_lean
from engine.packing import Member, Packing

FORMAT_VERSION = 1
METADATA_KEY, DIGEST_KEY = "likeness", "likeness.sha256"
PREFIX = "transformer."
# Attention and feed-forward of both kinds of blocks; not the modulation, which holds style more than a face.
TARGET_SUFFIXES = (
    "attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0",
    "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out",
    "ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2",
    "proj_mlp", "proj_out",
)  # fmt: skip
TARGETS = rf"(transformer_blocks|single_transformer_blocks)\.\d+\.({'|'.join(TARGET_SUFFIXES)})".replace(
    ".net.", r"\.net\."
)

# Of pictures that are drawn together, where nobody says otherwise: more make the quantum longer.
BATCH_TOKENS = 1024


@dataclass(frozen=True)
class AdapterInfo:
    """What an adapter's file says of itself. `rank` is also its alpha.

    facts: what the engine wants to know again at a shoot, such as the person's mean face embedding.
    """

    adapter_id: str
    person_id: str
    base_revision: str
    rank: int
    steps: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """For the file's header."""
        return json.dumps(
            {"format_version": FORMAT_VERSION, "alpha": self.rank, **vars(self)}, sort_keys=True
        )

    @classmethod
    def from_json(cls, text: str) -> "AdapterInfo":
        """Inverse of `to_json`. Raises ValueError for anything else."""
        try:
            values = json.loads(text)
            version, alpha = values.pop("format_version"), values.pop("alpha")
            info = cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not an adapter's description: {error}") from error
        if version != FORMAT_VERSION or alpha != info.rank:
            raise ValueError(f"format {version}, rank {info.rank}, alpha {alpha}")
        return info


@dataclass(frozen=True)
class Adapter:
    """LoRA weights in float32 by the slot's names (`<path>.lora_A` and `.lora_B`), with their description."""

    info: AdapterInfo
    tensors: dict[str, Tensor]

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> "Adapter":
        """The same there, in that type."""
        return Adapter(self.info, {name: each.to(device, dtype) for name, each in self.tensors.items()})


class AdapterSlot:
    """The base's LoRA branches. Not for several threads."""

    batch_tokens = BATCH_TOKENS

    def __init__(self, transformer: Any, also: Sequence[str] = (), lean: bool = False) -> None:
        """Attach empty branches to a frozen transformer: beside `TARGETS`, and beside the linears of these
        paths. lean: compute with `engine.lean_blocks`, where the linears are plain."""
        self._linears: dict[str, torch.nn.Linear] = {
            name: module
            for name, module in transformer.named_modules()
            if re.fullmatch(TARGETS, name) or name in also
        }
        self._sizes = {path: (each.out_features, each.in_features) for path, each in self._linears.items()}
        # Packed linears are no `nn.Linear`, and stay as they are.
        lean = lean and all(type(each) is torch.nn.Linear for each in self._linears.values())
        self._branches = _lean(transformer, self._linears) if lean else _plain(transformer, self._linears)
        self.lean = lean
        self._packings: dict[int, Packing] | None = {} if lean else None
        self._device = next(transformer.parameters()).device
        self._dtype = next(iter(self._linears.values())).weight.dtype
        self._enable(False)
        self._empty()

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained: of plain branches in the order of `names`; empty but while the slot holds an
        adapter."""
        return [each for branch, _ in self._branches for each in branch.parameters() if each.requires_grad]

    @property
    def linears(self) -> dict[str, torch.nn.Linear]:
        """What the branches lie beside, by path: the base's own linears, until others compute."""
        return dict(self._linears)

    def compute_with(self, make: Callable[[torch.nn.Linear], torch.nn.Module]) -> None:
        """Put something else in the place of each linear that computes the same."""
        self._linears.clear()
        for branch, _ in self._branches:
            branch.base_layer = make(branch.base_layer)

    @property
    def names(self) -> list[str]:
        """The tensors that an adapter must have, in a stable order."""
        return [f"{path}.lora_{half}" for path in self._sizes for half in "AB"]

    def shape(self, name: str, rank: int) -> tuple[int, int]:
        """Of a tensor in an adapter of that rank."""
        outputs, inputs = self._sizes[name.rsplit(".", 1)[0]]
        return (rank, inputs) if name.endswith("lora_A") else (outputs, rank)

    def fresh(self, info: AdapterInfo, generator: torch.Generator) -> Adapter:
        """A new adapter that changes nothing yet: A ~ N(0, 1/rank), B = 0; drawn on the CPU."""
        tensors = {
            name: torch.randn(self.shape(name, info.rank), generator=generator) / info.rank
            if name.endswith("lora_A")
            else torch.zeros(self.shape(name, info.rank))
            for name in self.names
        }
        return Adapter(info, tensors)

    @contextmanager
    def holding(self, adapter: Adapter) -> Iterator[None]:
        """The base with this adapter and no other, as it is now."""
        for parameter, tensor in zip(self.parameters, self._numbers(adapter), strict=True):
            parameter.data = tensor
            parameter.grad = None
        self._enable(True)
        try:
            yield
        finally:
            self._enable(False)
            self._empty()

    def gradient(self, rank: int) -> Tensor:
        """Of the adapter of that rank that it holds: of all its numbers, as `packed` has them, float32."""
        found = [each.grad for each in self.parameters if each.grad is not None]
        assert len(found) == len(self.parameters), "every branch takes part"
        if self._packings is not None:
            return self._packing(rank).flat(found)
        return torch.cat([each.flatten() for each in found])

    def _numbers(self, adapter: Adapter) -> list[Tensor]:
        """By parameter."""
        if self._packings is None:
            return [adapter.tensors[name] for name in self.names]
        return self._packing(adapter.info.rank).parts(packed(adapter, self), self._dtype)

    def _packing(self, rank: int) -> Packing:
        assert self._packings is not None
        if rank not in self._packings:
            places, first = dict[str, Member](), 0
            for path, (outputs, inputs) in self._sizes.items():
                places[path] = Member(first, outputs, inputs)
                first += rank * (outputs + inputs)
            members = [[places[path] for path in paths] for _, paths in self._branches]
            self._packings[rank] = Packing(members, rank, self._device)
        return self._packings[rank]

    def _empty(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None
            parameter.data = torch.empty(0, dtype=parameter.dtype, device=parameter.device)

    def _enable(self, enabled: bool) -> None:
        for branch, _ in self._branches:
            branch.enabled = enabled


Branches = list[tuple[Branch | LeanBranch, list[str]]]  # with the paths of their linears


def _plain(transformer: Any, linears: dict[str, torch.nn.Linear]) -> Branches:
    """A branch in the place of each linear."""
    made: Branches = []
    for path, linear in linears.items():
        branch = Branch(linear)
        _put(transformer, path, branch)
        made.append((branch, [path]))
    return made


def _lean(transformer: Any, linears: dict[str, torch.nn.Linear]) -> Branches:
    """Lean blocks, and a branch for each of their products."""
    make_lean(transformer)
    made: Branches = []
    left = dict(linears)
    for parent, module in list(transformer.named_modules()):
        for name, members in fusions(module).items():
            paths = [f"{parent}.{member}" for member in members]
            if left.keys() >= set(paths):
                branch = LeanBranch([left.pop(path) for path in paths])
                for path in paths:
                    remove_module(transformer, path)
                setattr(module, name, branch)
                made.append((branch, paths))
    for path, linear in left.items():
        branch = LeanBranch([linear])
        _put(transformer, path, branch)
        made.append((branch, [path]))
    return made


def _put(transformer: Any, path: str, module: torch.nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(transformer.get_submodule(parent), name, module)


def remove_module(model: Any, path: str) -> None:
    """Take a module out of another."""
    parent, _, name = path.rpartition(".")
    delattr(model.get_submodule(parent), name)


def save_adapter(path: Path, adapter: Adapter, dtype: torch.dtype = torch.float32) -> None:
    """Write a diffusers LoRA file, whole or not at all. Raises OSError."""
    weights = {
        f"{PREFIX}{name}.weight": tensor.to("cpu", dtype).contiguous()
        for name, tensor in adapter.tensors.items()
    }
    digest = hashlib.sha256()
    for name, weight in weights.items():
        digest.update(name.encode() + weight.view(torch.uint8).numpy().tobytes())
    header = {"format": "pt", METADATA_KEY: adapter.info.to_json(), DIGEST_KEY: digest.hexdigest()}
    write_atomically(path, save(weights, header))


def packed(adapter: Adapter, slot: AdapterSlot) -> Tensor:
    """All its tensors in one, in the slot's order."""
    return torch.cat([adapter.tensors[name].flatten() for name in slot.names])


def unpacked(info: AdapterInfo, flat: Tensor, slot: AdapterSlot) -> Adapter:
    """Inverse of `packed`; the tensors are views."""
    shapes = [slot.shape(name, info.rank) for name in slot.names]
    parts = torch.split(flat, [rows * columns for rows, columns in shapes])
    return Adapter(
        info,
        {name: part.view(shape) for name, part, shape in zip(slot.names, parts, shapes, strict=True)},
    )


def read_info(path: Path) -> AdapterInfo:
    """The description in a file's header. Raises AdapterCorrupt."""
    return read_header(path)[0]


def read_header(path: Path) -> tuple[AdapterInfo, str]:
    """The description, and the digest of the weights or nothing. Raises AdapterCorrupt."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            return AdapterInfo.from_json(metadata[METADATA_KEY]), metadata.get(DIGEST_KEY, "")
    except KeyError as error:
        raise AdapterCorrupt(str(path), "is not an adapter that Likeness trained") from error
    except (OSError, ValueError, SafetensorError) as error:
        raise AdapterCorrupt(str(path), f"cannot be read ({error})") from error


def load_adapter(
    path: Path,
    slot: AdapterSlot,
    base_revision: str,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Adapter:
    """Read and check a file. A silent mismatch would give a person a stranger's face: raises AdapterCorrupt
    unless keys, shapes, rank, alpha and base all fit."""
    info = read_info(path)
    if info.base_revision != base_revision:
        raise AdapterCorrupt(str(path), f"was trained for base {info.base_revision}, this is {base_revision}")
    with safe_open(path, framework="pt", device=str(device)) as file:
        found = set(file.keys())
        wanted = {f"{PREFIX}{name}.weight" for name in slot.names}
        if found != wanted:
            odd = sorted(found ^ wanted)[0]
            raise AdapterCorrupt(str(path), f"{len(found ^ wanted)} keys missing or unknown, first {odd}")
        tensors = {name: file.get_tensor(f"{PREFIX}{name}.weight") for name in slot.names}
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != slot.shape(name, info.rank):
            raise AdapterCorrupt(str(path), f"{name} has the shape {tuple(tensor.shape)} at rank {info.rank}")
    # One check of one piece instead of hundreds. Put together on the device: on the host it took seconds.
    flat = packed(Adapter(info, tensors), slot).to(dtype)
    if not bool(torch.isfinite(flat.sum())):
        raise AdapterCorrupt(str(path), "holds numbers that are not finite")
    return unpacked(info, flat, slot)
