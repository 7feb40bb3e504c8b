"""Two processes that train together."""

import os
import socket
import subprocess
import sys

import pytest

SCRIPT = """
import torch
from engine.demo_base import parallel
device, rank = parallel.start(), parallel.rank()
own = [torch.full((2, 3), float(rank)), torch.full((4,), 2.0 * rank)]
parallel.average(own)
shared = [torch.full((2,), float(rank + 5))]
parallel.share_weights(shared)
print(parallel.size(), own[0].unique().tolist(), own[1].unique().tolist(), shared[0].tolist(),
      parallel.mean(rank + 1.0, device))
parallel.stop()
"""


@pytest.mark.slow
def test_gradients_are_averaged_and_weights_are_the_first_process_s() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env={
                **os.environ,
                **meeting,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "CUDA_VISIBLE_DEVICES": "",
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=100)[0].strip() for process in processes]
    assert said == ["2 [0.5] [1.0] [5.0, 5.0] 1.5"] * 2


def test_alone_nothing_changes() -> None:
    import torch

    from engine.demo_base import parallel

    own = torch.ones(3)
    parallel.average([own])
    parallel.share_weights([own])
    assert own.tolist() == [1, 1, 1]
    assert (parallel.rank(), parallel.size(), parallel.mean(2.5, torch.device("cpu"))) == (0, 1, 2.5)
