"""Several GPUs of one host: the same weights everywhere, other pictures on each, gradients averaged.

Started by `torchrun --nproc-per-node=N -m engine.demo_base ...`; one process without it changes nothing.
"""

import os
from collections.abc import Sequence

import torch
from torch import Tensor
from torch import distributed as dist


def start() -> torch.device:
    """Join the others, if there are any; the device of this process."""
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def stop() -> None:
    """Leave the others."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Which of the processes this is; 0 writes files."""
    return int(dist.get_rank()) if dist.is_initialized() else 0


def size() -> int:
    """How many processes there are."""
    return int(dist.get_world_size()) if dist.is_initialized() else 1


@torch.no_grad()
def share_weights(tensors: Sequence[Tensor]) -> None:
    """Everybody takes the first process's."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its mean over the processes, all in one message."""
    if not dist.is_initialized():
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    parts = torch.split(flat / dist.get_world_size(), [tensor.numel() for tensor in tensors])
    torch._foreach_copy_(
        list(tensors), [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]
    )


def mean(value: float, device: torch.device) -> float:
    """The mean of a number over the processes."""
    held = torch.tensor([value], dtype=torch.float64, device=device)
    average([held])
    return float(held)
