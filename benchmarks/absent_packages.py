"""Stand-ins for packages that look at photos, where they are missing: with them the engine can be imported.

To be imported before the engine. Each is an empty module, whose use is an error, but OpenCV has the two
functions that cut crops, by Pillow: what lies outside a photo is black instead of its edge.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

PACKAGES = ("cv2", "imagehash", "pi_heif", "onnxruntime")
INTER_AREA, INTER_CUBIC, BORDER_REPLICATE = 3, 2, 1


def resize(picture: Any, size: tuple[int, int], interpolation: int = INTER_AREA) -> Any:
    """As OpenCV's, by area alone."""
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def warpAffine(picture: Any, matrix: Any, size: tuple[int, int], **_how: Any) -> Any:
    """As OpenCV's, for a matrix that moves and scales, bicubic."""
    scale, left, top = float(matrix[0, 0]), float(matrix[0, 2]), float(matrix[1, 2])
    back = (1 / scale, 0, -left / scale, 0, 1 / scale, -top / scale)
    return np.asarray(
        Image.fromarray(picture).transform(size, Image.Transform.AFFINE, back, Image.Resampling.BICUBIC)
    )


def stand_in(name: str) -> ModuleType:
    """An empty module; of OpenCV, what is above."""
    made = ModuleType(name)
    made.__spec__ = ModuleSpec(name, None)
    if name == "cv2":
        for each in (resize, warpAffine):
            setattr(made, each.__name__, each)
        made.INTER_AREA, made.INTER_CUBIC = INTER_AREA, INTER_CUBIC  # type: ignore[attr-defined]
        made.BORDER_REPLICATE = BORDER_REPLICATE  # type: ignore[attr-defined]
    return made


MISSING = tuple(name for name in PACKAGES if find_spec(name) is None)
for _name in MISSING:
    sys.modules[_name] = stand_in(_name)
