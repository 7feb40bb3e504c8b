"""How many workers there are, and what each may see."""

import os
from pathlib import Path

import pytest

from bot.devices import share_out


def machine(folder: Path, *gpus: str, broken: bool = False, **environ: str) -> dict[str, str]:
    """An environment whose driver tells of these GPUs."""
    tool = folder / "nvidia-smi"
    tool.write_text("#!/bin/sh\n" + ("exit 9\n" if broken else "".join(f"echo {each}\n" for each in gpus)))
    tool.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", **environ}


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_each_gpu_gets_a_worker_that_sees_it_alone(device: str, tmp_path: Path) -> None:
    shares = share_out(device, machine(tmp_path, "GPU-aa", "GPU-bb"))
    assert shares == [{"CUDA_VISIBLE_DEVICES": "GPU-aa"}, {"CUDA_VISIBLE_DEVICES": "GPU-bb"}]


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_a_device_that_was_chosen_gets_one_worker(device: str, tmp_path: Path) -> None:
    assert share_out(device, machine(tmp_path, "GPU-aa", "GPU-bb")) == [{}]


def test_one_worker_where_there_is_one_gpu_or_none(tmp_path: Path) -> None:
    assert share_out("auto", machine(tmp_path, "GPU-aa")) == [{}]
    assert share_out("auto", machine(tmp_path)) == [{}]
    assert share_out("auto", machine(tmp_path, "GPU-aa", "GPU-bb", broken=True)) == [{}]
    (tmp_path / "nvidia-smi").unlink()
    assert share_out("auto", {"PATH": str(tmp_path)}) == [{}]


def test_what_the_operator_left_visible_is_shared_out_and_no_more(tmp_path: Path) -> None:
    chosen = machine(tmp_path, "GPU-aa", "GPU-bb", "GPU-cc", CUDA_VISIBLE_DEVICES="2, 0")
    assert share_out("auto", chosen) == [{"CUDA_VISIBLE_DEVICES": "2"}, {"CUDA_VISIBLE_DEVICES": "0"}]
    assert share_out("auto", {**chosen, "CUDA_VISIBLE_DEVICES": "1"}) == [{}]
    assert share_out("auto", {**chosen, "CUDA_VISIBLE_DEVICES": ""}) == [{}]
