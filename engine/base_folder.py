"""A base model's folder in the diffusers format: is it whole, is it FLUX, which revision, which settings.

Reads configs and the headers of weights, never the weights themselves: cheap even for 24 GB.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import BaseUnusable
from engine.sigma_shift import SigmaShift

SETTINGS_FILE = "likeness.json"
SCHEDULER_FILE = "scheduler/scheduler_config.json"
PIPELINE = "FluxPipeline"
WEIGHT_DTYPES = frozenset({"F32", "F16", "BF16"})
UNSAFE = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
HEADER_LIMIT_BYTES = 100 * 1024 * 1024
FETCH_AGAIN = "Fetch the base again, or name another one in [engine] base"
Validated = TypeVar("Validated", bound=BaseModel)


@dataclass(frozen=True)
class Component:
    """A part of the base with weights: its folder and the class that its config must name."""

    folder: str
    architecture: str


COMPONENTS = (
    Component("transformer", "FluxTransformer2DModel"),
    Component("vae", "AutoencoderKL"),
    Component("text_encoder", "CLIPTextModel"),
    Component("text_encoder_2", "T5EncoderModel"),
)
TOKENIZERS = {
    "tokenizer": ("tokenizer.json", "vocab.json"),
    "tokenizer_2": ("tokenizer.json", "spiece.model"),
}


class LoraSettings(BaseModel):
    """How adapters of this base are trained best, where it was measured; None = derived from the preset.

    The names are those of `engine.presets.Recipe`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    rank: int | None = Field(default=None, ge=1, le=256)
    learning_rate: float | None = Field(default=None, gt=0, le=1)
    steps: int | None = Field(default=None, ge=1, le=100_000)
    batch_size: int | None = Field(default=None, ge=1, le=64)
    warmup_steps: int | None = Field(default=None, ge=0)
    captions: bool | None = None
    caption_dropout: float | None = Field(default=None, ge=0, le=1)
    mask_floor: float | None = Field(default=None, ge=0, le=1)
    ema_decay: float | None = Field(default=None, ge=0, lt=1)
    prior_share: float | None = Field(default=None, ge=0, lt=1)


class BaseSettings(BaseModel):
    """`likeness.json` of a base folder. The defaults are FLUX.1-dev's.

    resolution_px: side of training crops. picture_px: side of generated pictures.
    guidance: the embedded guidance at generation; training always uses 1.0.
    cpu_precision: the numbers of the transformer on a CPU that multiplies bfloat16 by itself; elsewhere a CPU
        takes float32, since it only imitates bfloat16, slowly.
    trigger, class_noun: words that stand for the trained person, `{subject}` of a prompt.
    caption: of a training photo.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    resolution_px: int = Field(default=512, ge=32, le=2048, multiple_of=16)
    picture_px: int = Field(default=1024, ge=32, le=2048, multiple_of=16)
    num_inference_steps: int = Field(default=28, ge=1, le=200)
    guidance: float = Field(default=3.5, ge=0, le=100)
    cpu_precision: Literal["float32", "bfloat16"] = "float32"
    trigger: str = Field(default="ohwx", min_length=1, max_length=40)
    class_noun: str = Field(default="person", min_length=1, max_length=40)
    caption: str = Field(default="photo of {subject}", max_length=400)
    lora: LoraSettings = LoraSettings()

    @property
    def subject(self) -> str:
        """What `{subject}` becomes."""
        return f"{self.trigger} {self.class_noun}"


@dataclass(frozen=True)
class BaseFolder:
    """A checked base. `revision` changes when its configs or weights do; adapters are bound to it."""

    path: Path
    revision: str
    settings: BaseSettings
    shift: SigmaShift

    @classmethod
    def open(cls, path: Path) -> "BaseFolder":
        """Check everything that can be checked without reading the weights. Raises BaseUnusable."""
        if not path.is_dir():
            raise BaseUnusable(str(path), "there is no such folder", FETCH_AGAIN)
        named = _json(path / "model_index.json").get("_class_name")
        if named != PIPELINE:
            raise BaseUnusable(
                str(path / "model_index.json"), f"is a {named}, not a {PIPELINE}", "Name a FLUX.1 base"
            )
        digest = hashlib.sha256()
        for component in COMPONENTS:
            _check_component(path / component.folder, component.architecture, digest)
        for folder, files in TOKENIZERS.items():
            _check_tokenizer(path / folder, files)
        revision = digest.hexdigest()[:16]
        return cls(path, revision, _settings(path / SETTINGS_FILE), _shift(path / SCHEDULER_FILE))


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BaseUnusable(str(path), f"cannot be read ({error.strerror})", FETCH_AGAIN) from error
    except ValueError as error:
        raise BaseUnusable(str(path), "is damaged: not JSON", FETCH_AGAIN) from error
    if not isinstance(values, dict):
        raise BaseUnusable(str(path), "is damaged: not a JSON object", FETCH_AGAIN)
    return values


def _check_component(folder: Path, architecture: str, digest: "hashlib._Hash") -> None:
    config = _json(folder / "config.json")
    named = [config["_class_name"]] if "_class_name" in config else config.get("architectures") or []
    if architecture not in named:
        found = ", ".join(map(str, named)) or "nothing"
        problem = f"names the architecture {found}, not {architecture}"
        raise BaseUnusable(str(folder / "config.json"), problem, "Name a FLUX.1 base")
    digest.update(json.dumps(_lasting(config), sort_keys=True).encode())
    weights = _weight_files(folder)
    for file in weights:
        digest.update(f"{folder.name}/{file.name}:{file.stat().st_size}".encode())
        digest.update(_check_weights(file))


def _lasting(config: dict[str, Any]) -> dict[str, Any]:
    """Without the notes of which library wrote it, and where."""
    return {
        k: v
        for k, v in config.items()
        if k not in ("_diffusers_version", "transformers_version", "_name_or_path")
    }


def _weight_files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.safetensors"))
    index = next(iter(sorted(folder.glob("*.safetensors.index.json"))), None)
    if index is not None:
        names = sorted(set(_json(index).get("weight_map", {}).values()))
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise BaseUnusable(str(folder / missing[0]), "is missing", FETCH_AGAIN)
        found = [folder / name for name in names]
    if found:
        return found
    unsafe = next((file for file in sorted(folder.iterdir()) if file.suffix in UNSAFE), None)
    if unsafe is not None:
        remedy = "Convert it to safetensors, or fetch the base's safetensors files"
        raise BaseUnusable(str(unsafe), "can run code when it is loaded; only safetensors are loaded", remedy)
    raise BaseUnusable(str(folder), "holds no safetensors file", FETCH_AGAIN)


def _check_weights(path: Path) -> bytes:
    """The header of a safetensors file after it was held to the file's length and to float types."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        header = file.read(length) if 2 <= length <= min(HEADER_LIMIT_BYTES, size) else b""
        sample = file.read(4096)
    try:
        tensors = {name: value for name, value in json.loads(header).items() if name != "__metadata__"}
        end = 8 + length + max(value["data_offsets"][1] for value in tensors.values())
        dtypes = {value["dtype"] for value in tensors.values()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaseUnusable(str(path), "is damaged: no safetensors header", FETCH_AGAIN) from error
    if end != size:
        problem = f"is damaged: {size} bytes, its header speaks of {end}"
        raise BaseUnusable(str(path), problem, FETCH_AGAIN)
    if dtypes - WEIGHT_DTYPES:
        wrong = ", ".join(sorted(dtypes - WEIGHT_DTYPES))
        remedy = "Use a base saved in bfloat16, float16 or float32"
        raise BaseUnusable(str(path), f"holds weights of the type {wrong}", remedy)
    return header + sample


def _check_tokenizer(folder: Path, files: tuple[str, ...]) -> None:
    if not any((folder / name).is_file() for name in files):
        raise BaseUnusable(str(folder), f"holds neither {' nor '.join(files)}", FETCH_AGAIN)


def _settings(path: Path) -> BaseSettings:
    if not path.is_file():
        return BaseSettings()
    return _validated(BaseSettings, path, "Mend or delete this file")


def _shift(path: Path) -> SigmaShift:
    return _validated(SigmaShift, path, "Name a FLUX.1 base")


def _validated(model: type[Validated], path: Path, remedy: str) -> Validated:
    try:
        return model.model_validate(_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BaseUnusable(str(path), f"{where}: {first['msg']}", remedy) from error
