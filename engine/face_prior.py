"""Where a base already reads a face, so that a person's adapter starts from it and not from nobody.

A base may have learned to read a face embedding from the trigger word's place in T5's states (the small base
has). Then one column of an adapter's rank, at the layer through which those states enter, can say the same
for good: A picks the trigger word out of the states, B puts down what the layer would have made of the
embedding. Training goes on from there. FLUX.1-dev has no such place, and its adapters start from nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.base_folder import FETCH_AGAIN
from engine.errors import BaseUnusable
from engine.faces import Embedding
from engine.lora import Adapter

FILE = "face_prior.safetensors"
PLACE = "context_embedder"
EMBEDDING = 128


@dataclass(frozen=True)
class FacePrior:
    """reads: (text width,), 1 on the trigger word's state and about 0 on any other. writes: (width, 128), a
    face embedding of length 1 to what `context_embedder` adds for it."""

    reads: Tensor
    writes: Tensor

    @classmethod
    def load(cls, folder: Path, transformer: Any) -> "FacePrior | None":
        """Of a base's folder; None where it has none. Raises BaseUnusable, also for another base's prior."""
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            tensors = load_file(path)
            prior = cls(tensors["reads"].float(), tensors["writes"].float())
        except (OSError, KeyError, SafetensorError) as error:
            raise BaseUnusable(str(path), f"is not a face prior ({error})", FETCH_AGAIN) from error
        wanted = (transformer.config.joint_attention_dim,), (transformer.inner_dim, EMBEDDING)
        if (tuple(prior.reads.shape), tuple(prior.writes.shape)) != wanted:
            raise BaseUnusable(str(path), "is the face prior of another base", FETCH_AGAIN)
        return prior

    def save(self, folder: Path) -> None:
        """Into a base's folder."""
        save_file({"reads": self.reads.contiguous(), "writes": self.writes.contiguous()}, folder / FILE)

    @torch.no_grad()
    def start(self, adapter: Adapter, identity: Embedding) -> None:
        """Write a face into a fresh adapter's first rank, both factors at one scale."""
        down, up = adapter.tensors[f"{PLACE}.lora_A"], adapter.tensors[f"{PLACE}.lora_B"]
        wanted = self.writes @ torch.from_numpy(identity).float()
        scale = float((wanted.norm() / self.reads.norm()).sqrt())
        down[0].copy_(self.reads * scale)
        up[:, 0].copy_(wanted / scale)
