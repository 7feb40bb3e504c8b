"""The packed portraits, unpacked on the training device."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.demo_base.attributes import Attributes

OVAL = [10, 297, 284, 389, 454, 361, 397, 379, 400, 152, 176, 150, 172, 132, 234, 162, 54, 67]
INNER = [
    33,
    133,
    159,
    145,
    263,
    362,
    386,
    374,
    70,
    105,
    107,
    300,
    334,
    336,
    168,
    6,
    4,
    98,
    327,
    2,
    61,
    291,
    0,
    17,
]
CONTROL = [*OVAL, *INNER]
"""Points of the 478 that carry a face's shape: outline, eyes, brows, nose, mouth."""
PARTNERS = 24


@dataclass(frozen=True)
class Portraits:
    """n portraits on one device.

    pictures: (n, 3, 256, 256) uint8. person: (n, 1, 128, 128) uint8. oval: (n, 1, 64, 64) uint8, the soft
    face. control: (n, len(CONTROL), 2), five: (n, 5, 2), box: (n, 4), all in pixels.
    partners: (n, PARTNERS) portraits of alike presentation, expression, glasses, colour and pose.
    behind: (m, 3, 48, 48) uint8 blurred backgrounds, with `behind_kind` m words.
    """

    pictures: Tensor
    person: Tensor
    oval: Tensor
    control: Tensor
    five: Tensor
    box: Tensor
    partners: Tensor
    behind: Tensor
    behind_kind: list[str]
    attributes: list[Attributes]
    files: list[str]

    def __len__(self) -> int:
        return len(self.files)


def load_portraits(archive_path: Path, device: torch.device) -> Portraits:
    """Read what `prepare.py` wrote."""
    with zipfile.ZipFile(archive_path) as archive:
        index = json.loads(archive.read("index.json"))
        with archive.open("arrays.npz") as handle:
            arrays = {name: value.copy() for name, value in np.load(handle).items()}
        names = set(archive.namelist())
        files = [row["file"] for row in index]
        pictures = [_image(archive, name)[:, :, ::-1] for name in files]
        person = [_image(archive, name.replace(".jpg", ".person.png"))[:, :, 0] for name in files]
        behind = {
            i: _image(archive, name.replace(".jpg", ".behind.png"))[:, :, ::-1]
            for i, name in enumerate(files)
            if name.replace(".jpg", ".behind.png") in names
        }
    attributes = [
        Attributes(**{k: v for k, v in row.items() if k not in ("file", "origin")}) for row in index
    ]
    usable = [
        i
        for i in behind
        if attributes[i].background in ("office", "outdoor", "flag") and not attributes[i].monochrome
    ]
    control = arrays["points"][:, CONTROL].astype(np.float32)
    return Portraits(
        pictures=_planes(np.stack(pictures), device),
        person=_planes(np.stack(person)[..., None], device),
        oval=_planes(np.stack([_soft_oval(points) for points in control])[..., None], device),
        control=torch.tensor(control, device=device),
        five=torch.tensor(arrays["five"], device=device),
        box=torch.tensor(arrays["box"], device=device),
        partners=torch.tensor(_partners(np.stack(pictures), control, attributes), device=device),
        behind=_planes(np.stack([behind[i] for i in usable]), device),
        behind_kind=[attributes[i].background for i in usable],
        attributes=attributes,
        files=files,
    )


def _image(archive: zipfile.ZipFile, name: str) -> NDArray[np.uint8]:
    bgr = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"{name} is not a picture")
    pixels: NDArray[np.uint8] = bgr.astype(np.uint8)
    return pixels


def _planes(stack: NDArray[np.uint8], device: torch.device) -> Tensor:
    return torch.tensor(np.ascontiguousarray(stack.transpose(0, 3, 1, 2)), device=device)


def _soft_oval(points: NDArray[np.float32]) -> NDArray[np.uint8]:
    outline = points[: len(OVAL)]
    outline = outline.mean(0) + 0.9 * (outline - outline.mean(0))
    mask = np.zeros((64, 64), np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull((outline / 4).astype(np.int32)), 255.0)
    soft: NDArray[np.uint8] = cv2.GaussianBlur(mask, (0, 0), 2.0).astype(np.uint8)
    return soft


def _partners(
    pictures: NDArray[np.uint8], control: NDArray[np.float32], attributes: list[Attributes]
) -> NDArray[np.int64]:
    """For each portrait the nearest in pose and skin colour of those that share its attributes."""
    shape = control - control.mean(1, keepdims=True)
    shape /= np.sqrt((shape**2).mean((1, 2), keepdims=True))
    pose = shape.reshape(len(shape), -1) * 4
    skin = np.stack([_skin(picture, points) for picture, points in zip(pictures, control, strict=True)])
    features = np.concatenate([pose, skin / 12], 1)
    kinds = np.array([f"{a.person}{a.expression}{a.glasses}{a.monochrome}" for a in attributes])
    near = []
    for i, feature in enumerate(features):
        distance = ((features - feature) ** 2).sum(1) + 1e6 * (kinds != kinds[i])
        distance[i] = np.inf
        near.append(np.argsort(distance)[:PARTNERS])
    return np.stack(near)


def _skin(picture: NDArray[np.uint8], control: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean Lab colour of the face's middle."""
    centre, reach = control.mean(0), 0.5 * np.ptp(control[:, 0])
    x0, x1 = int(max(0, centre[0] - reach / 2)), int(centre[0] + reach / 2)
    y0, y1 = int(max(0, centre[1] - reach / 2)), int(centre[1] + reach / 2)
    lab = cv2.cvtColor(np.ascontiguousarray(picture[y0:y1, x0:x1]), cv2.COLOR_RGB2LAB)
    mean: NDArray[np.float32] = lab.reshape(-1, 3).mean(0).astype(np.float32)
    return mean
