"""The kernels in Triton's interpreter, where Triton is: they compute what plain torch computes. On a GPU
tests/gpu/test_flux_kernels.py runs the kernels themselves."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import contextlib
import torch
torch.cuda.device_of = lambda tensor: contextlib.nullcontext()
import tests.engine.triton_interpreter
from engine import flux_ops
assert flux_ops.flux_kernels.HAS_TRITON
print("wrong:", flux_ops._wrong(torch.device("cpu")))
"""


@pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton is not installed: its interpreter runs nothing"
)
@pytest.mark.parametrize(
    ("mistake", "wrong"),
    [
        ("", []),
        ("odd * c + even * s|odd * c - even * s", ["rotated"]),
        ("even * c + odd * s|even * c - odd * s", ["rotated_gradient"]),
        ("(made - made * gate) * slope|gate", ["gelu_gradient_rows"]),
        ("tl.abs(copied.to(tl.float32))|copied.to(tl.float32)", ["quantised_rows"]),
        ("apart * r * (1.0 + by)|apart * r * by", ["normed_rows"]),
        ("tl.dot(one, two, made)|tl.dot(one, two)", ["add_product"]),
    ],
)
def test_the_interpreter_finds_them_right_and_each_mistake(
    tmp_path: Path, mistake: str, wrong: list[str]
) -> None:
    for name in ("flux_kernels", "flux_ops", "quantisation", "__init__"):
        text = (ROOT / "engine" / f"{name}.py").read_text()
        if mistake and name == "flux_kernels":
            right, instead = mistake.split("|")
            assert text.count(right) == 1
            text = text.replace(right, instead)
        (tmp_path / "engine").mkdir(exist_ok=True)
        (tmp_path / "engine" / f"{name}.py").write_text(text)
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = done.stdout.strip().splitlines()[-1]
    assert all(name in found for name in wrong), found
    assert wrong or found == "wrong: []"
