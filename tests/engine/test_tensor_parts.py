"""What is written piece by piece is what the library reads."""

from pathlib import Path

import torch
from safetensors import safe_open

from engine.tensor_parts import tensor_parts


def test_the_library_reads_it(tmp_path: Path) -> None:
    tensors = {
        "weights": torch.randn(3, 5),
        "half": torch.randn(7).bfloat16(),
        "bytes": torch.arange(11, dtype=torch.uint8),
        "count": torch.tensor(4.0),
        "nothing": torch.zeros(0, 2),
    }
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"".join(tensor_parts(tensors, {"said": "ä\n"})))
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"said": "ä\n"}
        assert set(file.keys()) == set(tensors)
        for name, tensor in tensors.items():
            read = file.get_tensor(name)
            assert read.dtype == tensor.dtype
            assert torch.equal(read, tensor)
