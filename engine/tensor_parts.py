"""A safetensors file piece by piece: writing takes no second copy of it, and other threads go on meanwhile.

`safetensors` itself builds all of it first, and holds the interpreter's lock for as long.
"""

import json
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

_NAMES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.uint8: "U8",
}
_ALIGN_BYTES = 8


def tensor_parts(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    """What the file consists of, in order. The tensors are on the CPU and contiguous."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    said = json.dumps(header).encode()
    said += b" " * (-len(said) % _ALIGN_BYTES)
    yield len(said).to_bytes(8, "little") + said
    for tensor in tensors.values():
        yield tensor.flatten().view(torch.uint8).numpy().data
