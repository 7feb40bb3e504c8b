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

from engine.branch import FUSED, Branch, FusedBranch
from engine.durable_files import write_atomically
from engine.errors import AdapterCorrupt

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

    def __init__(self, transformer: Any, also: Sequence[str] = (), fuse: bool = False) -> None:
        """Attach empty branches to a frozen transformer: beside `TARGETS`, and beside the linears of these
        paths. fuse: make one product of what an attention makes of the same input, where it is plain."""
        self._linears: dict[str, torch.nn.Linear] = {
            name: module
            for name, module in transformer.named_modules()
            if re.fullmatch(TARGETS, name) or name in also
        }
        self._sizes = {path: (each.out_features, each.in_features) for path, each in self._linears.items()}
        self._branches: list[Branch | FusedBranch] = []
        self._parameters: dict[str, torch.nn.Parameter] = {}
        fused = _fuse(transformer, self._linears) if fuse else {}
        for path, linear in self._linears.items():
            if path in fused:
                branch, place = fused[path]
                self._take(path, branch, branch.lora_A[place], branch.lora_B[place])
            else:
                alone = Branch(linear)
                parent, _, name = path.rpartition(".")
                setattr(transformer.get_submodule(parent), name, alone)
                self._take(path, alone, alone.lora_A, alone.lora_B)
        self._enable(False)
        self._empty()

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """The slot's parameters in the order of `names`; empty but while it holds an adapter."""
        return list(self._parameters.values())

    @property
    def linears(self) -> dict[str, torch.nn.Linear]:
        """What the branches lie beside, by path: the base's own linears, until others compute."""
        return dict(self._linears)

    def compute_with(self, make: Callable[[torch.nn.Linear], torch.nn.Module]) -> None:
        """Put something else in the place of each linear that computes the same."""
        self._linears.clear()
        for branch in self._branches:
            branch.base_layer = make(branch.base_layer)

    @property
    def names(self) -> list[str]:
        """The tensors that an adapter must have, in a stable order."""
        return list(self._parameters)

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
        """The base with this adapter and no other; what is written to the slot's parameters is written to
        the adapter's tensors."""
        for name, parameter in self._parameters.items():
            parameter.data = adapter.tensors[name]
            parameter.grad = None
        self._enable(True)
        try:
            yield
        finally:
            self._enable(False)
            self._empty()

    def _take(
        self, path: str, branch: Branch | FusedBranch, a: torch.nn.Parameter, b: torch.nn.Parameter
    ) -> None:
        self._parameters |= {f"{path}.lora_A": a, f"{path}.lora_B": b}
        if branch not in self._branches:
            self._branches.append(branch)

    def _empty(self) -> None:
        for parameter in self._parameters.values():
            parameter.grad = None
            parameter.data = torch.empty(0, device=parameter.device)

    def _enable(self, enabled: bool) -> None:
        for branch in self._branches:
            branch.enabled = enabled


def _fuse(transformer: Any, linears: dict[str, torch.nn.Linear]) -> dict[str, tuple[FusedBranch, int]]:
    """Make one branch of each attention's projections: of each linear's path the branch, and the place
    there."""
    fused: dict[str, tuple[FusedBranch, int]] = {}
    for parent, module in list(transformer.named_modules()):
        for name, members in FUSED.items():
            paths = [f"{parent}.{member}" for member in members]
            # Packed linears are no `nn.Linear`, and stay as they are.
            if all(type(linears.get(path)) is torch.nn.Linear for path in paths):
                branch = FusedBranch([linears[path] for path in paths])
                setattr(module, name, branch)
                module.fused_projections = True
                for member in members:
                    delattr(module, member)
                fused |= {path: (branch, place) for place, path in enumerate(paths)}
    return fused


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
