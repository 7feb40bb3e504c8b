"""How much each latent counts in the loss: the face fully, the rest at a floor.

Clothes and background are most of a selfie's area, and what a training that weighs all alike learns first.
"""

import numpy as np
import torch
from torch import Tensor

from engine import flow
from engine.crops import Crop
from engine.photo_facts import PhotoFacts

LATENT_PX = 8
# Half axes of the face's ellipse over the box's width and height: the box ends at brows and ears, and hair
# line and ears belong to a likeness. From there the weight falls to the floor over another half.
ACROSS, DOWN = 0.62, 0.72
RISE = 0.08  # of the box's height, upwards: hair rather than neck
FEATHER = 0.5


def face_weights(facts: PhotoFacts | None, crop: Crop, floor: float) -> Tensor:
    """Packed weights of a crop's latents, (tokens, 4) float32: one for each of a token's 2x2 positions.

    Their mean is 1 whatever the face's size, so that the floor changes where a step learns, not how much.
    Without facts, or at a floor of 1, all are 1.
    """
    rows, columns = crop.height_px // LATENT_PX, crop.width_px // LATENT_PX
    if facts is None or floor >= 1:
        return torch.ones(rows * columns // 4, 4)
    x, y, width, height = facts.box
    centre = np.array(crop.place((x + width / 2, y + height * (0.5 - RISE))))
    right, left = (np.array(point) for point in facts.landmarks[:2])
    across = (left - right) / max(float(np.linalg.norm(left - right)), 1e-6)
    down = np.array([-across[1], across[0]])
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1) * LATENT_PX + LATENT_PX / 2
    away = grid - centre
    radius = np.hypot(
        away @ across / (ACROSS * width * crop.scale), away @ down / (DOWN * height * crop.scale)
    )
    inside = np.clip((1 + FEATHER - radius) / FEATHER, 0, 1)
    weights = floor + (1 - floor) * inside
    return flow.pack(torch.from_numpy(weights / weights.mean()).float()[None, None])[0]
