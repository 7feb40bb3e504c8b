"""Whether a picture shows what no headshot shall: Yahoo's open_nsfw, a classifier of nudity, on the CPU.

The preparation is the reference's (github.com/yahoo/open_nsfw, classify_nsfw.py), as the package that carries
the file repeats it: 256 px, JPEG and back, the middle 224 px, BGR, minus the mean.
"""

import io
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from engine.model_files import SAFETY, read_model
from engine.pictures import Pixels

# The highest of 300 portraits scored .45; the authors call scores over .8 surely unsafe, and under .2 safe.
MAX_UNSAFE = 0.5
SIDE_PX, MIDDLE_PX = 256, 224
MEAN_BGR = np.array([104, 117, 123], dtype=np.float32)


class SafetyModel:
    """The loaded network. About 20 ms a picture on one core. Not for several threads."""

    def __init__(self, own_path: str = "", threads: int = 1) -> None:
        """Raises FaceModelUnusable where the file is missing or altered."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 1
        content = read_model(SAFETY, own_path)
        self._session: Any = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def unsafe(self, pixels: Pixels) -> float:
        """0 to 1; over `MAX_UNSAFE` it is not to be shown."""
        scores = self._session.run(None, {self._input: _prepared(pixels)[None]})[0]
        return float(scores[0][1])


def _prepared(pixels: Pixels) -> NDArray[np.float32]:
    side = Image.fromarray(np.ascontiguousarray(pixels)).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)
    edge = (SIDE_PX - MIDDLE_PX) // 2
    middle = side.crop((edge, edge, edge + MIDDLE_PX, edge + MIDDLE_PX))
    buffer = io.BytesIO()
    middle.save(buffer, "JPEG")
    with Image.open(io.BytesIO(buffer.getvalue())) as again:
        bgr = np.asarray(again, dtype=np.float32)[:, :, ::-1]
    prepared: NDArray[np.float32] = np.ascontiguousarray(bgr - MEAN_BGR)
    return prepared
