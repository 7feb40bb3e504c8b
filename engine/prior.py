"""Pictures of anybody, drawn by the base itself before a training: what it shall still draw afterwards.

A step sees one of them now and then instead of the person (`Recipe.prior_share`), under a caption without the
trigger. The loss is then (1 - share) person + share prior: DreamBooth's prior preservation (Ruiz et al.,
arXiv 2208.12242) with lambda = share / (1 - share).
"""

import hashlib
import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch

from engine.base_folder import BaseSettings
from engine.crops import Framing
from engine.dataset import View
from engine.generator import Drawing, Frame, Shot
from engine.lora import AdapterInfo, AdapterSlot
from engine.merging import Holder
from engine.models import VAE_FACTOR, Base
from engine.pictures import Pixels, read_picture, write_lossless
from engine.presets import Recipe

FOLDER = "prior-"
# As various as a person's own captions are, so that it is the trigger that makes the difference.
CAPTIONS = (
    "",
    ", wearing a navy jacket, grey background",
    ", wearing a casual top, outdoor background, smiling",
    ", close up, dark background",
)
SEED = 30_000


def prior_captions(settings: BaseSettings) -> list[str]:
    """Of nobody in particular: the class and no trigger."""
    return [settings.caption.replace("{subject}", f"a {settings.class_noun}") + each for each in CAPTIONS]


class PriorPictures:
    """Drawn a denoising step at a time; what was drawn is kept in the training's folder, so that a training
    goes on after a crash with the very same ones."""

    def __init__(self, base: Base, holder: Holder, slot: AdapterSlot, recipe: Recipe, work_dir: Path) -> None:
        """Nothing is computed yet; nothing ever is where the recipe asks for none. holder: of the base, which
        is asked; see `Resources.drawing`."""
        self._base = base
        self._side = min(recipe.resolutions_px)
        settings = base.settings
        self._folder = work_dir / f"{FOLDER}{base.folder.revision}-{self._side}"
        captions = prior_captions(settings)
        count = recipe.prior_count if recipe.prior_share > 0 else 0
        self._captions = [captions[index % len(captions)] for index in range(count)]
        frame = Frame(self._side, self._side, settings.num_inference_steps, settings.guidance)
        missing = {
            index: Shot(self._captions[index], (SEED + index,))
            for index in self._missing(frame.batches(count, holder.batch_tokens))
        }
        # A fresh adapter changes nothing: this is the base itself.
        info = AdapterInfo("", "", base.folder.revision, rank=1)
        nobody = slot.fresh(info, torch.Generator().manual_seed(SEED)).to(base.device) if missing else None
        self._drawing = Drawing(base, holder, nobody, frame, missing, self._take) if nobody else None

    @property
    def finished(self) -> bool:
        """Whether all are there."""
        return self._drawing is None or self._drawing.finished

    def step(self) -> None:
        """One denoising step, or decoding and writing. Raises OutOfMemoryError, OSError."""
        if self._drawing is not None:
            self._drawing.step()

    def views(self) -> tuple[View, ...]:
        """Encoded as a person's photos are, once finished. Raises OSError."""
        return tuple(self._view(index) for index in range(len(self._captions)))

    def _missing(self, sizes: Sequence[int]) -> list[int]:
        """By whole batches: the last bit of a picture may depend on those that are drawn with it."""
        indexes, missing = iter(range(len(self._captions))), list[int]()
        for size in sizes:
            batch = list(islice(indexes, size))
            if not all(self._path(each).is_file() for each in batch):
                missing += batch
        return missing

    def _view(self, index: int) -> View:
        pixels = read_picture(self._path(index))
        tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1
        latents = self._base.encode_picture(tensor).cpu()
        return View(
            latents=latents,
            rows=self._side // VAE_FACTOR,
            columns=self._side // VAE_FACTOR,
            weights=torch.ones(len(latents), 4),
            framing=Framing.AS_GIVEN,
            share=1.0,
            source=hashlib.sha256(pixels.tobytes()).digest(),
            caption=self._captions[index],
        )

    def _take(self, index: int, pixels: Pixels) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_lossless(self._path(index), pixels)

    def _path(self, index: int) -> Path:
        return self._folder / f"{index}.png"


def remove_prior_pictures(work_dir: Path) -> None:
    """Once the adapter is safe."""
    for folder in work_dir.glob(f"{FOLDER}*"):
        shutil.rmtree(folder, ignore_errors=True)
