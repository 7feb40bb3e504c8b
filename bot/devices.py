"""The GPUs that workers of this machine share out. Asked from the driver's own tool: no torch here."""

import os
import shutil
import subprocess
from collections.abc import Mapping

ASK = ("nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader")
ASK_SECONDS = 60  # a driver that nobody uses is loaded first
VISIBLE = "CUDA_VISIBLE_DEVICES"


def share_out(device: str, environ: Mapping[str, str] = os.environ) -> list[dict[str, str]]:
    """What each worker's environment needs so that it sees one GPU and no other.

    device: `[engine] device`. One worker, with nothing special, where there are not several GPUs to share.
    """
    names = _gpus(environ) if device in ("auto", "cuda") else []
    return [{VISIBLE: name} for name in names] if len(names) > 1 else [{}]


def _gpus(environ: Mapping[str, str]) -> list[str]:
    """As CUDA names them: those that the operator left visible, else all, by their ids (CUDA's order and the
    driver's differ)."""
    if VISIBLE in environ:
        return [name for each in environ[VISIBLE].split(",") if (name := each.strip())]
    if shutil.which(ASK[0], path=environ.get("PATH")) is None:
        return []
    try:
        answer = subprocess.run(  # noqa: S603  a fixed command
            ASK, capture_output=True, text=True, timeout=ASK_SECONDS, env=dict(environ), check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []  # the engine says better what is wrong with the driver
    return answer.stdout.split()
