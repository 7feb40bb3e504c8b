"""A person's selfies as a training sees them: crops, captions and weights, all of it encoded once.

Everything encoded is kept by photo, crop and caption, never by position.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from engine.base_folder import BaseSettings
from engine.captions import caption, describe_selfie, glasses_vary, plain_caption
from engine.crops import Crop, Framing, cut_crop, plan_crops
from engine.demo_base.attributes import Attributes
from engine.face_mask import face_weights
from engine.face_mesh import FaceMesh
from engine.models import VAE_FACTOR, Base, TextCondition
from engine.photo_weights import photo_weights
from engine.pictures import Pixels, read_picture
from engine.presets import Recipe
from engine.selfies import Selfie, Split


@dataclass(frozen=True)
class View:
    """One crop of a photo, encoded.

    latents: packed, (tokens, 64), float32 on the CPU. rows, columns: of the unpacked latents.
    weights: of the latents in the loss, (tokens, 4), see `engine.face_mask`.
    share: of its photo's steps. source: digest of the pixels. caption: its key in `Dataset.texts`.
    """

    latents: Tensor
    rows: int
    columns: int
    weights: Tensor
    framing: Framing
    share: float
    source: bytes
    caption: str = ""

    def digest(self) -> bytes:
        """Of everything that a step computes with."""
        numbers = f"{self.rows} {self.columns} {self.share!r} {self.framing} {self.caption}\0"
        return hashlib.sha256(numbers.encode() + self.source + self.weights.numpy().tobytes()).digest()


@dataclass(frozen=True)
class Photo:
    """A selfie's views, and what its captions say of it."""

    views: tuple[View, ...]
    attributes: Attributes | None = None


@dataclass
class Dataset:
    """Encoded selfies by photo, and encoded captions by caption.

    weights: how often a photo is seen, 1 on average; 1 where nothing is said.
    held_out: selfies that the training never sees, to measure it by.
    prior: views of anybody, made by the base itself. plain: the caption that only names the person.
    mesh: what describes photos; None = they are not described.
    """

    photos: dict[str, Photo] = field(default_factory=dict)
    texts: dict[str, TextCondition] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    held_out: Sequence[Selfie] = ()
    prior: tuple[View, ...] = ()
    plain: str = ""
    mesh: FaceMesh | None = None

    @classmethod
    def of(cls, split: Split, recipe: Recipe) -> "Dataset":
        """Nothing is encoded yet."""
        weights = photo_weights(split.training) if recipe.weigh_photos else {}
        return cls(weights=weights, held_out=split.held_out, mesh=FaceMesh() if recipe.captions else None)

    @property
    def keys(self) -> list[str]:
        """Photos in a stable order."""
        return sorted(self.photos)

    def fingerprint(self) -> str:
        """Of photos, crops, masks, captions, weights and prior: a checkpoint goes on only with the data that
        it began with."""
        digest = hashlib.sha256(f"{self.plain}\0{[selfie.key for selfie in self.held_out]}\0".encode())
        for key in self.keys:
            digest.update(f"{key}\0{self.weights.get(key, 1.0)!r}\0".encode())
            for view in self.photos[key].views:
                digest.update(view.digest())
        for view in self.prior:
            digest.update(b"prior" + view.digest())
        return digest.hexdigest()[:16]

    def add(self, selfie: Selfie, base: Base, recipe: Recipe) -> None:
        """Crop, mask, encode and describe one selfie. Raises OSError where it cannot be read. Captions come
        last, by `say`."""
        picture = read_picture(selfie.path)
        size_px = (picture.shape[1], picture.shape[0])
        crops = plan_crops(selfie.facts, size_px, recipe.resolutions_px, recipe.framings, recipe.max_aspect)
        views = tuple(_view(picture, crop, selfie, base, recipe.mask_floor) for crop in crops)
        attributes = None
        if self.mesh is not None and selfie.facts is not None:
            attributes = describe_selfie(picture, selfie.facts, self.mesh)
        self.photos[selfie.key] = Photo(views, attributes)

    def say(self, base: Base) -> bool:
        """Encode one caption more; whether there was one. Where the encoder comes layer by layer, each takes
        a second. The first time all photos get theirs: it is known now what varies between them."""
        if not self.plain:
            self._write_captions(base.settings)
        said = {view.caption for photo in self.photos.values() for view in photo.views}
        said |= {view.caption for view in self.prior}
        unsaid = {self.plain, *said} - self.texts.keys()
        if unsaid:
            self.texts[min(unsaid)] = base.encode_text(min(unsaid))
        return bool(unsaid)

    def _write_captions(self, settings: BaseSettings) -> None:
        self.plain = plain_caption(settings)
        known = [photo.attributes for photo in self.photos.values() if photo.attributes is not None]
        glasses = glasses_vary(known)
        for key, photo in self.photos.items():
            views = tuple(
                replace(view, caption=caption(settings, photo.attributes, view.framing, glasses))
                for view in photo.views
            )
            self.photos[key] = replace(photo, views=views)


def _view(picture: Pixels, crop: Crop, selfie: Selfie, base: Base, mask_floor: float) -> View:
    pixels = cut_crop(picture, crop)
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1
    return View(
        latents=base.encode_picture(tensor).cpu(),
        rows=crop.height_px // VAE_FACTOR,
        columns=crop.width_px // VAE_FACTOR,
        weights=face_weights(selfie.facts, crop, mask_floor),
        framing=crop.framing,
        share=crop.share,
        source=hashlib.sha256(pixels.tobytes()).digest(),
    )
