"""The engine process: `python -m engine --config '<EngineConfig as JSON>'`, started by its worker.

Exit codes: 0 stopped or end of input, 3 the engine cannot start (after a NotReady), 4 the GPU is lost.
"""

import argparse
import ctypes
import logging
import os
import signal
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engine.config import EngineConfig
from engine.errors import BaseUnusable, EngineError
from engine.messages import NotReady, Ready
from engine.wire import ReplyStream, claim_stdout, log_to_stderr, read_requests

log = logging.getLogger("engine")

KEYS = "keys"
CANNOT_START, LOST = 3, 4
PR_SET_PDEATHSIG = 1
# A quantum and a checkpoint take less; a process that hangs in a driver must go all the same.
GRACE_SECONDS = 60.0
# Of the processor beside a GPU, which does the work. torch starts one for each core, also where a container
# may use few of them; waking them then takes longer than what they do.
THREADS_BESIDE_GPU = 4


def main() -> int:
    """Load, say Ready, serve until the end of input or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m engine")
    parser.add_argument("--config", default="{}", help="EngineConfig as JSON")
    arguments = parser.parse_args()
    # Threads that spin while they wait for one another fight the machine's other processes for its few cores:
    # on 2 busy cores a training step of the small base takes 2.6-3.7 s with spinning and 0.3 s without.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    replies = ReplyStream(claim_stdout(), closed=lambda: None)
    log_to_stderr()
    _die_with_parent()
    try:
        config = EngineConfig.from_json(arguments.config)
        engine, facts = _build(config, replies)
    except (EngineError, ValueError, TypeError) as error:
        reason = getattr(error, "reason", "config_wrong")
        log.error("engine_cannot_start", extra={"reason": reason, "problem": str(error)})
        replies.send(NotReady(reason=reason, sentence=str(error)))
        return CANNOT_START
    return _serve(engine, facts, requests, replies)


def _build(config: EngineConfig, replies: ReplyStream) -> tuple[Any, dict[str, Any]]:
    """Everything slow to import comes here, after the process is bound to its parent."""
    import torch

    from engine.acceleration import keep_artifacts
    from engine.engine import Engine
    from engine.marking import Marker
    from engine.models import load_base
    from engine.photos import PhotoChecker
    from engine.pictures import write_picture

    on_cpu = config.device == "cpu" or not torch.cuda.is_available()
    if config.threads or not on_cpu:
        torch.set_num_threads(config.threads or THREADS_BESIDE_GPU)
    keep_artifacts(Path(config.cache_dir))
    checker = PhotoChecker(config)
    finish = Marker(Path(config.cache_dir) / KEYS).finish if config.mark_images else write_picture
    try:
        base = load_base(config)
        engine = Engine(config, base, checker.check, replies.send, finish)
    except torch.OutOfMemoryError as error:
        remedy = "Free the GPU's memory, or set [engine] memory_tier to a smaller card's"
        raise BaseUnusable(config.base, "does not fit into the memory that is free", remedy) from error
    facts = {
        "base": config.base,
        "base_revision": base.folder.revision,
        "device": str(base.device),
        "device_name": torch.cuda.get_device_name(base.device) if base.device.type == "cuda" else "CPU",
        "dtype": str(base.dtype).removeprefix("torch."),
        "memory_mib": _memory_mib(base.device),
        "memory_tier": base.tier.name,
        "picture_px": base.settings.picture_px,
        "versions": {
            name: version(name) for name in ("torch", "diffusers", "peft", "accelerate", "transformers")
        },
    }
    return engine, facts


def _memory_mib(device: Any) -> int:
    """Of the GPU, or of the machine."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory // 2**20)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def _serve(engine: Any, facts: dict[str, Any], requests: Any, replies: ReplyStream) -> int:
    from engine.engine import DeviceLost

    def stop() -> None:
        _end_in_time()
        engine.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
    replies.send(Ready(facts=facts))
    read_requests(requests, engine.submit, stop)
    try:
        engine.run()
    except DeviceLost as error:
        log.error("device_lost", extra={"problem": str(error)})
        _end_in_time()
        return LOST
    return 0


def _end_in_time() -> None:
    """Whatever hangs."""
    timer = threading.Timer(GRACE_SECONDS, os._exit, args=(LOST,))
    timer.daemon = True
    timer.start()


def _die_with_parent() -> None:
    """On Linux the kernel tells us when the worker is gone, even one that was killed; end of input tells us
    everywhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
