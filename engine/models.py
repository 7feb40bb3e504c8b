"""The base model: found, checked, loaded, and asked. The same code for the small base and for FLUX.1-dev."""

import json
import shutil
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
)
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoTokenizer, CLIPTextModel, T5EncoderModel

from engine import flow
from engine.base_folder import FETCH_AGAIN, SETTINGS_FILE, BaseFolder, BaseSettings
from engine.config import EngineConfig
from engine.durable_files import made_once, write_atomically
from engine.errors import BaseUnusable
from engine.face_prior import PLACE, FacePrior
from engine.modulation import conditions, modulation_of
from engine.residency import settle, tier_of
from engine.sigma_shift import SigmaShift
from engine.tiers import Tier

DEMO_FOLDER = Path(__file__).parent / "demo_base" / "weights"
HUB_NAMES = {"flux1-dev": "black-forest-labs/FLUX.1-dev"}
HUB_FILES = ["model_index.json", SETTINGS_FILE, "*/*.json", "*/*.safetensors", "*/*.txt", "*/*.model"]
CLIP_TOKENS = 77
VAE_FACTOR = 8
KNOWN_TEXTS = 64

# Small enough that training and a shoot on the random base are a matter of seconds on any CPU.
TINY_SETTINGS = {
    "resolution_px": 64,
    "picture_px": 64,
    "num_inference_steps": 4,
    "guidance": 1.0,
    "trigger": "sks",
    "lora": {"rank": 4, "learning_rate": 1e-3, "steps": 30, "batch_size": 1, "warmup_steps": 3},
}


@dataclass(frozen=True)
class TextCondition:
    """A prompt as the transformer takes it. tokens: (length, width) of T5; pooled: (width,) of CLIP."""

    tokens: Tensor
    pooled: Tensor


class KnownTexts:
    """The last prompts that were encoded, in the host's memory (4 MB each of FLUX.1-dev's): looks and the
    rounds of a shoot ask for the same again."""

    def __init__(self) -> None:
        self._known = OrderedDict[str, TextCondition]()

    def get(self, prompt: str, encode: Callable[[str], TextCondition]) -> TextCondition:
        """What `encode` makes of it, on the CPU."""
        if prompt not in self._known:
            made = encode(prompt)
            self._known[prompt] = TextCondition(made.tokens.cpu(), made.pooled.cpu())
        self._known.move_to_end(prompt)
        if len(self._known) > KNOWN_TEXTS:
            self._known.popitem(last=False)
        return self._known[prompt]


@dataclass(frozen=True)
class Base:
    """A loaded base, frozen, on one device. `transformer` alone is ever changed: adapters are attached."""

    folder: BaseFolder
    transformer: Any
    vae: Any
    clip: Any
    clip_tokenizer: Any
    t5: Any
    t5_tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    tier: Tier
    face_prior: FacePrior | None = None
    known_texts: KnownTexts = field(default_factory=KnownTexts, compare=False)

    def parts(self) -> dict[str, Any]:
        """All that it is made of, by name, for another kind of base of the same."""
        return {each.name: getattr(self, each.name) for each in fields(Base)}

    @property
    def adapted_too(self) -> tuple[str, ...]:
        """What adapters of this base reach beside the blocks."""
        return (PLACE,) if self.face_prior else ()

    @property
    def settings(self) -> BaseSettings:
        """Resolution, steps, guidance and words of this base."""
        return self.folder.settings

    @property
    def shift(self) -> SigmaShift:
        """Of its sigmas, in training and in generation."""
        return self.folder.shift

    @property
    def text_tokens(self) -> int:
        """T5's sequence length, the same in training and in generation: 512 for FLUX.1-dev."""
        return int(self.t5_tokenizer.model_max_length)

    def encode_text(self, prompt: str) -> TextCondition:
        """T5 padded to `text_tokens` without a mask, as FLUX was trained, and CLIP's pooled output."""
        known = self.known_texts.get(prompt, self._encoded)
        return TextCondition(known.tokens.to(self.device), known.pooled.to(self.device))

    @torch.no_grad()
    def _encoded(self, prompt: str) -> TextCondition:
        t5_ids = _token_ids(self.t5_tokenizer, prompt, self.text_tokens).to(self.device)
        clip_ids = _token_ids(self.clip_tokenizer, prompt, CLIP_TOKENS).to(self.device)
        tokens = self.t5(t5_ids, output_hidden_states=False)[0][0]
        pooled = self.clip(clip_ids, output_hidden_states=False).pooler_output[0]
        return TextCondition(tokens.to(self.dtype), pooled.to(self.dtype))

    @torch.no_grad()
    def encode_picture(self, picture: Tensor) -> Tensor:
        """(3, height, width) in -1..1 -> packed latents (tokens, 64) in float32: the distribution's mean."""
        moments = self.vae.encode(picture[None].to(self.device, self.vae.dtype)).latent_dist
        latents = (moments.mode().float() - self.vae.config.shift_factor) * self.vae.config.scaling_factor
        return flow.pack(latents)[0]

    @torch.no_grad()
    def decode_latents(self, tokens: Tensor, height_px: int, width_px: int) -> Tensor:
        """Packed latents (batch, tokens, 64) -> (batch, 3, height, width) in -1..1, float32."""
        latents = flow.unpack(tokens.float(), height_px // VAE_FACTOR, width_px // VAE_FACTOR)
        latents = latents / self.vae.config.scaling_factor + self.vae.config.shift_factor
        picture: Tensor = self.vae.decode(latents.to(self.vae.dtype), return_dict=False)[0]
        return picture.float().clamp(-1, 1)

    @torch.no_grad()
    def modulation(self, sigmas: Tensor, pooled: Tensor, guidance: float) -> Tensor | None:
        """What `predict` may be given, a row for each pass of one picture: sigmas (passes,), pooled (passes,
        width). It depends on no adapter. None where the blocks make it themselves."""
        maker = modulation_of(self.transformer)
        if maker is None:
            return None
        embeds = self.transformer.config.guidance_embeds
        sigmas = sigmas.to(self.device, torch.float32)
        return maker.ahead(*conditions(sigmas, guidance if embeds else None, pooled, self.dtype))

    def predict(
        self,
        latents: Tensor,
        sigmas: Tensor,
        texts: Sequence[TextCondition],
        rows: int,
        columns: int,
        guidance: float,
        modulation: Tensor | None = None,
    ) -> Tensor:
        """The velocity of noised packed latents (batch, tokens, 64); `sigmas` is (batch,), in 0..1.

        `rows` and `columns` are the unpacked latents'. `guidance` is passed raw and only to bases that embed
        it: the transformer multiplies it and sigma by 1000 itself. modulation: rows of `Base.modulation`.
        """
        guided = torch.full((len(latents),), guidance, device=self.device)
        maker = modulation_of(self.transformer)
        with nullcontext() if maker is None else maker.known(modulation):
            output: Tensor = self.transformer(
                hidden_states=latents.to(self.device, self.dtype),
                timestep=sigmas.to(self.device, torch.float32),
                guidance=guided if self.transformer.config.guidance_embeds else None,
                pooled_projections=torch.stack([text.pooled for text in texts]),
                encoder_hidden_states=torch.stack([text.tokens for text in texts]),
                txt_ids=_text_ids(len(texts[0].tokens), self.device, self.dtype),
                img_ids=_image_ids(rows, columns, self.device, self.dtype),
                return_dict=False,
            )[0]
        return output


@dataclass(frozen=True)
class LaunchedBase(Base):
    """A base that is asked seldom: nothing is compiled for it while somebody waits."""

    @classmethod
    def of(cls, base: Base) -> "LaunchedBase":
        """The same base."""
        return cls(**base.parts())

    def predict(self, *given: Any, **others: Any) -> Tensor:
        """See `Base.predict`."""
        with torch.compiler.set_stance("force_eager"):
            return super().predict(*given, **others)


# Kept for good: a copy to the GPU at every step would make the host wait for it, and recorded passes read
# them where they are. There is one for each shape of a bucket.
@cache
def _text_ids(length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    return flow.text_ids(length).to(device, dtype)


@cache
def _image_ids(rows: int, columns: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    return flow.image_ids(rows, columns).to(device, dtype)


def load_base(config: EngineConfig) -> Base:
    """Find, check and load the base that the config names. Raises BaseUnusable."""
    device = _device(config.device)
    folder = BaseFolder.open(_locate(config))
    path = folder.path
    dtype, others = _dtypes(device, folder.settings)
    transformer = _load(FluxTransformer2DModel, path / "transformer", dtype)
    vae = _load(AutoencoderKL, path / "vae", others)
    clip = _load(CLIPTextModel, path / "text_encoder", others)
    t5 = _load(T5EncoderModel, path / "text_encoder_2", others)
    for model in (transformer, vae, clip, t5):
        model.requires_grad_(False)
        model.eval()
    tier = tier_of(config.memory_tier, device, transformer)
    settle(tier, device, transformer, t5, vae, clip)
    return Base(
        folder,
        transformer,
        vae,
        clip,
        _tokenizer(path / "tokenizer"),
        t5,
        _tokenizer(path / "tokenizer_2"),
        device,
        dtype,
        tier,
        FacePrior.load(path, transformer),
    )


def _dtypes(device: torch.device, settings: BaseSettings) -> tuple[torch.dtype, torch.dtype]:
    """Of the transformer, and of the parts that are asked once a picture or a prompt."""
    if device.type == "cuda":
        return torch.bfloat16, torch.bfloat16
    native = torch.cpu._is_avx512_bf16_supported()
    half = native and settings.cpu_precision == "bfloat16"
    return torch.bfloat16 if half else torch.float32, torch.float32


def _device(name: str) -> torch.device:
    wanted = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    device = torch.device(wanted)
    if device.type == "cuda":
        if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
            remedy = "Install the NVIDIA driver, or set [engine] device to cpu"
            raise BaseUnusable(name, "this device is not there", remedy)
        device = torch.device("cuda", device.index or 0)
        torch.cuda.set_device(device)
        # Not by itself: its backward pass is wrong for gradients of several layouts (`engine.lean_blocks`).
        # `engine.attention` measures it, and says where it is used.
        torch.backends.cuda.enable_cudnn_sdp(False)
    return device


def _locate(config: EngineConfig) -> Path:
    if config.base == "demo":
        return DEMO_FOLDER
    if config.base == "tiny":
        return _tiny(Path(config.cache_dir) / "tiny-base")
    folder = Path(config.base).expanduser()
    if config.base not in HUB_NAMES and (
        folder.exists() or folder.is_absolute() or config.base.startswith(".")
    ):
        return folder
    return _fetch(HUB_NAMES.get(config.base, config.base), config.base)


def _tiny(folder: Path) -> Path:
    from engine.demo_base.tiny import make_tiny_base  # costs a second that only tests need to pay

    with made_once(folder.parent):
        if not (folder / SETTINGS_FILE).is_file():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            make_tiny_base(part)
            shutil.rmtree(folder, ignore_errors=True)
            part.replace(folder)
            write_atomically(folder / SETTINGS_FILE, json.dumps(TINY_SETTINGS).encode())
    return folder


def _fetch(repository: str, named: str) -> Path:
    """The local copy of a hub repository, downloaded if need be."""
    try:
        try:
            return Path(snapshot_download(repository, allow_patterns=HUB_FILES, local_files_only=True))
        except LocalEntryNotFoundError:
            return Path(snapshot_download(repository, allow_patterns=HUB_FILES))
    except HFValidationError as error:
        remedy = "Set [engine] base to demo, flux1-dev, a folder that exists, or a hub name (owner/name)"
        raise BaseUnusable(named, "is neither a folder nor a hub name", remedy) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        remedy = f"Run `hf download {repository}` where there is a network, or name a folder in [engine] base"
        if isinstance(error, GatedRepoError) or repository in HUB_NAMES.values():
            page = f"https://huggingface.co/{repository}"
            remedy = f"Accept its licence at {page} and run `hf auth login`. {remedy}"
        raise BaseUnusable(named, "is not on this machine and could not be downloaded", remedy) from error


def _load(architecture: Any, folder: Path, dtype: torch.dtype) -> Any:
    try:
        model, report = architecture.from_pretrained(
            str(folder), dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        problem = f"cannot be loaded as {architecture.__name__} ({str(error).splitlines()[0][:200]})"
        raise BaseUnusable(str(folder), problem, FETCH_AGAIN) from error
    missing = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
    if missing:
        problem = f"lacks {len(missing)} weights of {architecture.__name__}, first {missing[0]}"
        raise BaseUnusable(str(folder), problem, FETCH_AGAIN)
    return model


def _tokenizer(folder: Path) -> Any:
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BaseUnusable(str(folder), "the tokenizer cannot be loaded", FETCH_AGAIN) from error


def _token_ids(tokenizer: Any, prompt: str, length: int) -> Tensor:
    ids: Tensor = tokenizer(
        prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
    return ids
