"""More faces than were photographed: shapes and faces are mixed, backgrounds exchanged, crops and colours
moved.

Under a thousand people are too few to learn what faces have in common. For a portrait `a` and a partner
`b` of like pose and attributes, thin-plate splines over landmarks warp both to a shape in between, and b's
face is blended into a's head. The result is a face nobody has, with a's hair, clothing and caption.
"""

from dataclasses import dataclass, replace
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.demo_base.attributes import Attributes
from engine.demo_base.captions import studio
from engine.demo_base.portrait import FACE_CENTRE, FACE_SHARE
from engine.demo_base.portraits import Portraits

SIDE = 256
STUDIO_COLOURS = {
    "white": (0.94, 0.94, 0.94),
    "light grey": (0.76, 0.77, 0.78),
    "grey": (0.55, 0.55, 0.56),
    "dark grey": (0.37, 0.37, 0.38),
    "charcoal": (0.24, 0.24, 0.25),
    "black": (0.07, 0.07, 0.075),
    "blue": (0.25, 0.42, 0.66),
    "light blue": (0.62, 0.76, 0.9),
    "navy": (0.12, 0.17, 0.33),
    "teal": (0.2, 0.5, 0.52),
    "green": (0.32, 0.5, 0.34),
    "beige": (0.85, 0.78, 0.66),
    "brown": (0.45, 0.33, 0.23),
    "burgundy": (0.4, 0.12, 0.16),
    "pink": (0.9, 0.68, 0.7),
    "purple": (0.42, 0.3, 0.52),
}
"""Backdrops by name, as red, green and blue of 0..1."""


@dataclass(frozen=True)
class Batch:
    """pictures: (n, 3, 256, 256) in -1..1. five: (n, 5, 2) pixels. attributes: what the captions may say."""

    pictures: Tensor
    five: Tensor
    attributes: list[Attributes]
    index: Tensor


def augment(
    portraits: Portraits, index: Tensor, random: Random, mix: float = 0.65, swap: float = 0.45
) -> Batch:
    """A batch of new portraits. mix: share of mixed faces; swap: share of exchanged backgrounds."""
    device, n = index.device, len(index)
    mate = portraits.partners[index, torch.randint(portraits.partners.shape[1], (n,), device=device)]
    own, other = portraits.control[index], portraits.control[mate]
    other_here = _similar(other, own)
    mixed = (torch.rand(n, 1, 1, device=device) < mix).float()
    shape_share = mixed * torch.rand(n, 1, 1, device=device)
    face_share = mixed * (shape_share + 0.3 * torch.randn(n, 1, 1, device=device)).clamp(0, 1)
    target = own + shape_share * (other_here - own)
    five = portraits.five[index] + shape_share * (
        _similar(portraits.five[mate], portraits.five[index]) - portraits.five[index]
    )
    frame, flip = _frame(portraits.box[index])
    where = _pixel_grid(frame)
    from_own = _spline(_with_frame(target), _with_frame(own), where)
    from_other = _spline(target, other, where)
    picture = _sample(portraits.pictures[index].float() / 255, from_own, "bicubic").clamp(0, 1)
    face = _sample(portraits.pictures[mate].float() / 255, from_other, "bicubic").clamp(0, 1)
    oval = _sample(portraits.oval[index].float() / 255, from_own) * face_share[..., None]
    picture = torch.lerp(picture, _match(face, picture, oval), oval)
    person = ((_sample(portraits.person[index].float() / 255, from_own) - 0.35) / 0.5).clamp(0, 1)
    attributes = [portraits.attributes[i] for i in index.tolist()]
    picture, attributes = _exchange(portraits, picture, person, attributes, random, swap)
    picture, attributes = _colours(picture, attributes, random)
    five = torch.einsum("nij,npj->npi", _linear(frame), five - frame[:, None, 2:4]) + SIDE / 2
    return _turned(picture, five, attributes, index, flip)


def _turned(
    picture: Tensor, five: Tensor, attributes: list[Attributes], index: Tensor, flip: Tensor
) -> Batch:
    picture = torch.where(flip[:, None, None, None], picture.flip(3), picture)
    mirrored = torch.stack([SIDE - 1 - five[..., 0], five[..., 1]], -1)[:, [1, 0, 2, 4, 3]]
    return Batch(picture * 2 - 1, torch.where(flip[:, None, None], mirrored, five), attributes, index)


def _similar(points: Tensor, onto: Tensor) -> Tensor:
    """Points moved, turned and scaled onto others, least squares."""
    source, target = points - points.mean(1, keepdim=True), onto - onto.mean(1, keepdim=True)
    spread = (source**2).sum((1, 2))
    a = (source * target).sum((1, 2)) / spread
    b = (target[..., 1] * source[..., 0] - target[..., 0] * source[..., 1]).sum(1) / spread
    turn = torch.stack([torch.stack([a, -b], 1), torch.stack([b, a], 1)], 1)
    moved: Tensor = source @ turn.transpose(1, 2) + onto.mean(1, keepdim=True)
    return moved


def _frame(box: Tensor) -> tuple[Tensor, Tensor]:
    """The square to show: (n, 4) scale, angle, centre x, centre y in the source; and whether to mirror."""
    n, device = len(box), box.device
    face = (box[:, 2] * box[:, 3]).sqrt()
    side = face / FACE_SHARE * (1 + 0.09 * torch.randn(n, device=device)).clamp(0.8, 1.25)
    side = side.clamp(max=float(SIDE))
    centre = box[:, :2] + box[:, 2:] / 2
    offset = torch.tensor([0.5 - FACE_CENTRE[0], 0.5 - FACE_CENTRE[1]], device=device)
    middle = centre + (offset + 0.02 * torch.randn(n, 2, device=device)) * side[:, None]
    middle = torch.minimum(torch.maximum(middle, side[:, None] / 2), SIDE - side[:, None] / 2)
    angle = 0.035 * torch.randn(n, device=device)
    return torch.cat([side[:, None] / SIDE, angle[:, None], middle], 1), torch.rand(n, device=device) < 0.5


def _linear(frame: Tensor) -> Tensor:
    """(n, 2, 2): source offset -> shown offset."""
    scale, angle = 1 / frame[:, 0], frame[:, 1]
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)


def _pixel_grid(frame: Tensor, step: int = 4) -> Tensor:
    """Source position of every `step`-th shown pixel: (n, rows, columns, 2)."""
    axis = torch.arange(0, SIDE + step, step, device=frame.device, dtype=torch.float32) - SIDE / 2
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    back = torch.linalg.inv(_linear(frame))
    return torch.einsum("nij,rcj->nrci", back, grid) + frame[:, None, None, 2:4]


def _with_frame(points: Tensor) -> Tensor:
    """The points and eight on the picture's border, which stay where they are."""
    half, far = SIDE / 2, float(SIDE)
    border = [(0, 0), (half, 0), (far, 0), (0, half), (far, half), (0, far), (half, far), (far, far)]
    fixed = torch.tensor(border, device=points.device, dtype=points.dtype)
    return torch.cat([points, fixed.expand(len(points), -1, -1)], 1)


def _spline(at: Tensor, to: Tensor, where: Tensor) -> Tensor:
    """Thin-plate spline (Bookstein 1989) that takes points `at` to points `to`, evaluated at `where`."""
    n, k = at.shape[:2]
    at, to, where = at / SIDE, to / SIDE, where / SIDE
    kernel = _radial(torch.cdist(at, at)) + 1e-4 * torch.eye(k, device=at.device)
    ones = torch.cat([torch.ones(n, k, 1, device=at.device), at], 2)
    top = torch.cat([kernel, ones], 2)
    bottom = torch.cat([ones.transpose(1, 2), torch.zeros(n, 3, 3, device=at.device)], 2)
    weights = torch.linalg.solve(torch.cat([top, bottom], 1), F.pad(to, (0, 0, 0, 3)))
    flat = where.reshape(n, -1, 2)
    basis = _radial(torch.cdist(flat, at))
    out = basis @ weights[:, :k] + torch.cat([torch.ones_like(flat[..., :1]), flat], 2) @ weights[:, k:]
    placed: Tensor = out.view(where.shape) * SIDE
    return placed


def _radial(distance: Tensor) -> Tensor:
    return distance**2 * torch.log(distance + 1e-6)


def _sample(planes: Tensor, coarse: Tensor, mode: str = "bilinear") -> Tensor:
    """Planes at positions given in 256 px coordinates on a coarse grid."""
    step = SIDE // (coarse.shape[1] - 1)
    fine = F.interpolate(coarse.permute(0, 3, 1, 2), scale_factor=step, mode="bilinear", align_corners=False)
    # pixel i lies at coarse position i / step: shift by half a step less half a pixel
    shift = step // 2
    fine = fine[:, :, shift : shift + SIDE, shift : shift + SIDE].permute(0, 2, 3, 1)
    return F.grid_sample(
        planes, (fine + 0.5) * (2 / SIDE) - 1, mode=mode, padding_mode="reflection", align_corners=False
    )


def _match(face: Tensor, picture: Tensor, oval: Tensor) -> Tensor:
    """The face with the picture's mean and spread of colour inside the oval."""
    weight = oval / (oval.sum((2, 3), keepdim=True) + 1e-3)

    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        mean = (x * weight).sum((2, 3), keepdim=True)
        return mean, ((x - mean) ** 2 * weight).sum((2, 3), keepdim=True).sqrt() + 1e-3

    mean, spread = moments(face)
    wanted_mean, wanted_spread = moments(picture)
    return ((face - mean) / spread * wanted_spread + wanted_mean).clamp(0, 1)


def _exchange(
    portraits: Portraits,
    picture: Tensor,
    person: Tensor,
    attributes: list[Attributes],
    random: Random,
    swap: float,
) -> tuple[Tensor, list[Attributes]]:
    """Other backgrounds for some, named in their attributes."""
    n, device = len(picture), picture.device
    attributes = list(attributes)
    chosen, photo, place, colour = [0.0] * n, [0.0] * n, [0] * n, [(0.0, 0.0, 0.0)] * n
    for i, own in enumerate(attributes):
        if own.monochrome or random.random() > swap:
            continue
        chosen[i] = 1.0
        if random.random() < 0.3:
            photo[i], place[i] = 1.0, random.randrange(len(portraits.behind_kind))
            attributes[i] = studio(own, portraits.behind_kind[place[i]], "")
        else:
            name = random.choice(list(STUDIO_COLOURS))
            dark = name in ("black", "charcoal") and random.random() < 0.6
            attributes[i], colour[i] = studio(own, "dark" if dark else "plain", name), STUDIO_COLOURS[name]
    blurred = portraits.behind[torch.tensor(place, device=device)].float() / 255
    blurred = F.interpolate(blurred, (SIDE, SIDE), mode="bicubic", align_corners=False)
    behind = torch.lerp(
        _backdrops(torch.tensor(colour, device=device)), blurred, _column(photo, device)
    ).clamp(0, 1)
    return torch.lerp(behind, picture, torch.maximum(person, 1 - _column(chosen, device))), attributes


def _column(values: list[float], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)[:, None, None, None]


def _backdrops(rgb: Tensor) -> Tensor:
    """Lit studio walls: one colour (n, 3), a light somewhere, a trace of cloth."""
    n, device = len(rgb), rgb.device
    axis = torch.linspace(-1, 1, SIDE, device=device)

    def some(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, 1, 1, 1, device=device)

    away = (axis[None, None, None, :] - some(-0.8, 0.8)) ** 2 + (
        axis[None, None, :, None] - some(-0.8, 0.4)
    ) ** 2
    cloth = F.interpolate(torch.randn(n, 1, 6, 6, device=device), (SIDE, SIDE), mode="bicubic")
    level = 1 + some(0.0, 0.35) * (torch.exp(-away / some(0.6, 3.0)) - 0.5) + some(0.0, 0.03) * cloth
    return rgb[:, :, None, None] * level * some(0.92, 1.08)


def _colours(
    picture: Tensor, attributes: list[Attributes], random: Random
) -> tuple[Tensor, list[Attributes]]:
    """Small changes of exposure, contrast and white balance; a few pictures lose their colour."""
    n, device = len(picture), picture.device
    gain = 1 + 0.05 * torch.randn(n, 1, 1, 1, device=device) + 0.025 * torch.randn(n, 3, 1, 1, device=device)
    gamma = torch.exp(0.08 * torch.randn(n, 1, 1, 1, device=device))
    picture = (picture.clamp(1e-4, 1) ** gamma * gain).clamp(0, 1)
    grey = torch.tensor([random.random() < 0.06 for _ in range(n)], device=device)
    light = (picture * torch.tensor([0.299, 0.587, 0.114], device=device)[:, None, None]).sum(1, keepdim=True)
    attributes = [
        replace(a, monochrome=True, clothing_colour="", background_colour="") if turned else a
        for a, turned in zip(attributes, grey.tolist(), strict=True)
    ]
    return torch.where(grey[:, None, None, None], light.expand_as(picture), picture), attributes
