"""SFace as a torch module, for faces by the hundred on any device.

The network is MobileFaceNet-like: a chain of convolution, batch norm and PReLU, then one linear layer
(Zhong et al. 2021, arXiv:2205.12010; OpenCV Zoo, Apache-2.0). `convert` reads the ONNX file.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

SIDE_PX = 112
# The five points (right eye, left eye, nose, mouth corners) of an aligned face, as in OpenCV.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float32,
)


def convert(onnx_path: Path, out: Path) -> None:
    """SFace's ONNX file -> safetensors in half precision, batch norms folded."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(onnx_path)).graph
    weights = {item.name: numpy_helper.to_array(item).astype(np.float64) for item in graph.initializer}
    tensors: dict[str, NDArray[np.float64]] = {}
    step = -1
    for node in graph.node:
        inputs: list[Any] = [weights.get(name) for name in node.input]
        if node.op_type == "Conv":
            step += 1
            stride = next(a.ints[0] for a in node.attribute if a.name == "strides")
            groups = next(a.i for a in node.attribute if a.name == "group")
            tensors[f"{step}.kernel"] = inputs[1]
            tensors[f"{step}.shape"] = np.array([stride, groups])
        elif node.op_type == "PRelu":
            tensors[f"{step}.slope"] = inputs[1].reshape(-1)
        elif node.op_type == "Gemm":
            step += 1
            tensors[f"{step}.kernel"], tensors[f"{step}.bias"] = inputs[1], inputs[2]
        elif node.op_type == "BatchNormalization":
            epsilon = next(a.f for a in node.attribute if a.name == "epsilon")
            gamma, beta, mean, variance = inputs[1:5]
            scale = gamma / np.sqrt(variance + epsilon)
            kind = "late" if f"{step}.slope" in tensors else "norm"
            tensors[f"{step}.{kind}_scale"] = scale
            tensors[f"{step}.{kind}_shift"] = beta - mean * scale
    save_file({k: torch.tensor(np.ascontiguousarray(v)).half().contiguous() for k, v in tensors.items()}, out)


class Identity(nn.Module):
    """SFace. Input: aligned RGB faces (n, 3, 112, 112) in 0..255."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        for name, value in load_file(path).items():
            self.register_buffer(name.replace(".", "_"), value.float())
        self.steps = 1 + max(int(name.split(".")[0]) for name in load_file(path))
        self.plan = []
        for step in range(self.steps - 1):
            stride, groups = self._part(step, "shape").tolist()
            self.plan.append((int(stride), int(groups)))

    def forward(self, faces: Tensor) -> Tensor:
        """(n, 128) embeddings of length 1."""
        x = (faces - 127.5) / 128
        for step in range(self.steps - 1):
            x = self._affine(self._step(x, step), step, "late")
        last = self.steps - 1
        x = F.linear(x.flatten(1), self._part(last, "kernel"), self._part(last, "bias"))
        return F.normalize(self._affine(x, last, "norm"), dim=1)

    def _step(self, x: Tensor, step: int) -> Tensor:
        stride, groups = self.plan[step]
        kernel = self._part(step, "kernel")
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)
        return F.prelu(self._affine(x, step, "norm"), self._part(step, "slope"))

    def _part(self, step: int, name: str) -> Tensor:
        part = getattr(self, f"{step}_{name}")
        assert isinstance(part, Tensor)
        return part

    def _affine(self, x: Tensor, step: int, kind: str) -> Tensor:
        if not hasattr(self, f"{step}_{kind}_scale"):
            return x
        shape = (1, -1) + (1,) * (x.dim() - 2)
        return x * self._part(step, f"{kind}_scale").view(shape) + self._part(step, f"{kind}_shift").view(
            shape
        )


def align(pictures: Tensor, points: Tensor) -> Tensor:
    """Cut aligned faces out of pictures (n, 3, h, w), any range, by five points (n, 5, 2) in pixels.

    Least-squares similarity (Umeyama 1991) from the picture to the template, as OpenCV's alignCrop.
    """
    template = torch.tensor(TEMPLATE, device=points.device)
    target, source = template - template.mean(0), points.float() - points.float().mean(1, keepdim=True)
    # forward: target = [[a, -b], [b, a]] source; its inverse is the transpose over a^2 + b^2
    spread = (source**2).sum((1, 2))
    a = (target * source).sum((1, 2)) / spread
    b = (target[:, 1] * source[..., 0] - target[:, 0] * source[..., 1]).sum(1) / spread
    a, b = a / (a**2 + b**2), -b / (a**2 + b**2)
    turn = torch.stack([torch.stack([a, -b], 1), torch.stack([b, a], 1)], 1)
    axis = torch.arange(SIDE_PX, device=points.device, dtype=torch.float32)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1) - template.mean(0)
    where = grid.view(1, -1, 2) @ turn.transpose(1, 2) + points.float().mean(1, keepdim=True)
    size = torch.tensor([pictures.shape[-1], pictures.shape[-2]], device=points.device)
    where = (2 * where + 1) / size - 1
    return F.grid_sample(
        pictures.float(), where.view(-1, SIDE_PX, SIDE_PX, 2), padding_mode="zeros", align_corners=False
    )
