"""What the engine needs to know to start. Made from the `[engine]` table of `config.toml` by the worker."""

import json
import re
from dataclasses import asdict, dataclass

from engine.tiers import NAMES as TIERS

PRESETS = ("fast", "balanced", "best")
SWITCH = ("auto", "on", "off")


@dataclass(frozen=True)
class EngineConfig:
    """Settings of one engine process.

    base: `demo` (the small base that ships with the project), `flux1-dev`, `tiny` (random, for tests), or a
        folder or hub name in the diffusers format.
    device: `auto`, `cpu`, `cuda` or `cuda:N`.
    preset: `fast`, `balanced` or `best`; every hyper-parameter of training is derived from it and the base.
    cache_dir: where the engine may keep files of its own (tiny base, compiled artifacts).
    metrics_dir: where it writes what may be watched, see `engine.metrics`; empty = nowhere.
    threads: CPU threads for torch; 0 = torch's choice, or a few beside a GPU.
    """

    base: str = "demo"
    device: str = "auto"
    preset: str = "balanced"
    cache_dir: str = "data/cache"
    metrics_dir: str = ""
    threads: int = 0
    memory_tier: str = "auto"  # see `engine.tiers`
    merge: str = "auto"  # adapters merged into serving weights; auto = as the memory tier says
    compile: str = "auto"  # blocks compiled, warmed at the start; auto = on an NVIDIA GPU
    cuda_graphs: str = "auto"  # passes recorded and replayed, see `engine.recording`; auto = by GPU and tier
    attention: str = "auto"  # the fastest by measurement, see `engine.attention`; safe = torch's own choice
    kernels: str = "auto"  # own blocks and Triton kernels, see `engine.flux_ops`; auto = where they are right
    fp8: str = "auto"  # products with frozen weights in float8, see `engine.tiers.float8_for`
    detector_path: str = ""  # an own copy of the face detector's ONNX file; empty = the installed package's
    recognizer_path: str = (
        ""  # an own copy of the face recogniser's ONNX file; empty = the installed package's
    )
    safety_path: str = ""  # an own copy of the safety model's ONNX file; empty = the installed package's
    candidates_per_headshot: int = 3  # most pictures drawn for one that is delivered; 1 = no choice
    mark_images: bool = True  # C2PA manifest and invisible watermark on every headshot

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, not {self.preset!r}")
        if self.memory_tier not in TIERS:
            raise ValueError(f"memory_tier must be one of {', '.join(TIERS)}, not {self.memory_tier!r}")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise ValueError(f"device must be auto, cpu, cuda or cuda:N, not {self.device!r}")
        for name in ("merge", "compile", "fp8"):
            if getattr(self, name) not in SWITCH:
                raise ValueError(f"{name} must be one of {', '.join(SWITCH)}, not {getattr(self, name)!r}")
        for name, other in (("cuda_graphs", "off"), ("kernels", "off"), ("attention", "safe")):
            if getattr(self, name) not in ("auto", other):
                raise ValueError(f"{name} must be auto or {other}, not {getattr(self, name)!r}")
        if self.candidates_per_headshot < 1:
            raise ValueError("candidates_per_headshot must be 1 or more")
        if self.threads < 0:
            raise ValueError("threads must be 0 or more")

    def to_json(self) -> str:
        """For the engine process's command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "EngineConfig":
        """Inverse of `to_json`."""
        return cls(**json.loads(text))
