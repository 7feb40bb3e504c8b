"""How well a face can be seen: sharpness, light, turn of the head, and whether it is a photo at all.

Calibrated on 328 faces of at least 90 px: portraits of the US Congress and of 18F (public domain, CC0),
synthetic people of faker-js assets-person-portrait (CC0) and of the PyPI package openpeople (MIT); and on
the same faces blurred, darkened and brightened. The figures stand with each threshold.
"""

import numpy as np
from numpy.typing import NDArray

from engine.faces import Face, FacePatch, Picture
from engine.opencv import cv2

# 0 of 328 sharp faces lie under it (the least .0042), all do after a Gaussian blur (sigma 1.5 percent
# of the face's side), and 70-78, 99 and 100 percent after a motion of 4, 7 and 10 percent of it. The variance
# of the Laplacian finds 64 percent of motion blur: motion leaves the edges along its own direction.
MIN_SHARPNESS = 0.004
# 95th percentile of the face's luma: highlights on skin, and eyes, depend less on the skin's tone than the
# mean. Well lit it was 109 or more for every face, the darkest skin among them. Under it after 2, 3, 4 and 5
# stops less light: 0, 7, 71 and 100 percent of 69 faces.
MIN_BRIGHTNESS = 55
# Share of the face at luma 250 and more: at most .05 when well exposed. Over it after 1 and 2 stops more:
# 1 and 61 percent of 69 faces.
MAX_CLIPPED = 0.25
BLOWN_OUT = 250
# Flat colours with hard outlines: cartoons, saved as JPEG at quality 70 to 95, are flat to .78-.88 and sharp
# to .12-.33; photos .00-.22 (.36 two stops under) and at most .10. Blurred or blown out photos can be as
# flat, but not as sharp. Sketches, paintings and photos through a filter are not told from photos.
DRAWN_FLATNESS, DRAWN_SHARPNESS = 0.7, 0.11
# Depth of the nose over the distance of the eyes, so that a nose that has moved by r eye distances means a
# turn of atan(r / .6). Frontal pictures: up to 34 degrees; pictures turned to the side: 42 to 76.
NOSE_DEPTH = 0.6
MAX_YAW_DEGREES = 45.0
# Room between the outermost landmarks and the picture's edge, in face sides: the detector's box ends with the
# picture, landmarks do not. Whole faces: top .36, sides .10, bottom .22 or more. With 10, 20, 30 percent of
# the face cut away at an edge, 0-14, 49-87 and 87-100 percent of 69 faces are found; whole ones never, unless
# the edge runs along the face (9 percent, at one side).
ROOM_TOP, ROOM_SIDE, ROOM_BOTTOM = 0.25, 0.08, 0.15

_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


def sharpness(patch: FacePatch) -> float:
    """The least variance of the second difference over four directions, of the normalised gray face.

    0.02-0.05 for a sharp face. Normalising takes out light and contrast; the least over the directions is
    what motion takes away.
    """
    gray = cv2.cvtColor(patch.inner(), cv2.COLOR_RGB2GRAY).astype(np.float32)
    gray = (gray - gray.mean()) / max(float(gray.std()), 1e-3)
    return min(_second_difference(gray, down, right) for down, right in _DIRECTIONS)


def _second_difference(gray: NDArray[np.float32], down: int, right: int) -> float:
    height, width = gray.shape
    if height < 5 or width < 5:
        return 0.0
    middle = gray[1:-1, 1:-1]
    before = gray[1 - down : height - 1 - down, 1 - right : width - 1 - right]
    after = gray[1 + down : height - 1 + down, 1 + right : width - 1 + right]
    # Diagonal neighbours are sqrt(2) apart: a second difference grows with the distance squared.
    return float(np.var(before + after - 2 * middle)) / (down * down + right * right) ** 2


def light(patch: FacePatch) -> tuple[float, float]:
    """(brightness, clipped) of the middle of the face, away from hair and background."""
    luma = cv2.cvtColor(_middle(patch), cv2.COLOR_RGB2GRAY)
    return float(np.percentile(luma, 95)), float(np.mean(luma >= BLOWN_OUT))


def flatness(patch: FacePatch) -> float:
    """Share of the face's pixels that equal their right and lower neighbour, to within 1 of 255 a channel."""
    pixels = patch.inner().astype(np.int16)
    right = np.abs(np.diff(pixels, axis=1)).max(axis=2)[:-1] <= 1
    below = np.abs(np.diff(pixels, axis=0)).max(axis=2)[:, :-1] <= 1
    return float(np.mean(right & below)) if right.size else 0.0


def is_drawn(flat: float, sharp: float) -> bool:
    """By `flatness` and `sharpness`: a cartoon, not a photo."""
    return flat > DRAWN_FLATNESS and sharp > DRAWN_SHARPNESS


def yaw_degrees(face: Face) -> float:
    """Turn of the head; positive = towards the picture's right."""
    right_eye, left_eye, nose = (np.array(point) for point in face.landmarks[:3])
    across = left_eye - right_eye
    moved = float((nose - (left_eye + right_eye) / 2) @ across) / max(float(across @ across), 1e-6)
    return float(np.degrees(np.arctan(moved / NOSE_DEPTH)))


def is_cut_off(face: Face, width: int, height: int) -> bool:
    """The face reaches beyond the picture by more than a little hair or forehead."""
    across = [point[0] for point in face.landmarks]
    down = [point[1] for point in face.landmarks]
    side = face.side_px
    return (
        min(down) < ROOM_TOP * side
        or height - max(down) < ROOM_BOTTOM * side
        or min(*across, width - max(across)) < ROOM_SIDE * side
    )


def _middle(patch: FacePatch) -> Picture:
    face = patch.inner()
    height, width = face.shape[:2]
    middle: Picture = face[height // 5 : height * 9 // 10 + 1, width * 3 // 20 : width * 17 // 20 + 1]
    return middle
