"""From measurements to words: what a caption may say about a portrait. No guess where a measure is unsure."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.demo_base.measure import Measures
from engine.demo_base.portrait import Picture

CHIN, FACE_LEFT, FACE_RIGHT, BETWEEN_EYES = 152, 234, 454, 168


@dataclass(frozen=True)
class Attributes:
    """Words, or an empty string where nothing sure was measured.

    person: man, woman, person. age: young, middle aged, older. clothing: suit, blazer, casual.
    background: plain, flag, outdoor, office, dark. expression: smiling, broad smile, serious expression.
    """

    person: str
    age: str
    clothing: str
    clothing_colour: str
    background: str
    background_colour: str
    expression: str
    glasses: str
    light: str
    monochrome: bool


def describe(picture: Picture, measures: Measures) -> Attributes:
    """Attributes of one 256 px portrait."""
    hsv = _hsv(picture)
    clothing, clothing_colour = _clothing(hsv, measures)
    background, background_colour = _background(picture, hsv, measures)
    monochrome = bool(np.percentile(hsv[..., 1] * hsv[..., 2], 95) < 0.12)
    return Attributes(
        person="woman" if measures.woman > 0.85 else "man" if measures.woman < 0.15 else "person",
        age="young" if measures.age < 36 else "older" if measures.age > 58 else "middle aged",
        clothing=clothing,
        clothing_colour="" if monochrome else clothing_colour,
        background=background,
        background_colour="" if monochrome else background_colour,
        expression=_expression(measures),
        glasses=_glasses(picture, measures),
        light=_light(hsv, measures),
        monochrome=monochrome,
    )


def colour_name(hsv: NDArray[np.float32]) -> str:
    """A plain colour word for one colour: hue in degrees, saturation and value 0..1."""
    hue, saturation, value = float(hsv[0]), float(hsv[1]), float(hsv[2])
    if value < 0.16:
        return "black"
    if saturation < 0.16 or saturation * value < 0.07:
        steps = ((0.3, "charcoal"), (0.45, "dark grey"), (0.65, "grey"), (0.84, "light grey"))
        return next((name for limit, name in steps if value < limit), "white")
    if 185 <= hue < 265:
        return "navy" if value < 0.4 else "light blue" if value > 0.65 and saturation < 0.45 else "blue"
    if hue < 14 or hue >= 335:
        return "burgundy" if value < 0.42 else "pink" if saturation < 0.45 and value > 0.6 else "red"
    if hue < 48:
        if saturation > 0.65 and value > 0.7:
            return "orange"
        return "beige" if value > 0.68 else "brown"
    if hue < 70:
        return "yellow" if saturation > 0.4 else "beige"
    if hue < 185:
        return "teal" if hue > 155 else "green"
    return "purple"


def _hsv(picture: Picture) -> NDArray[np.float32]:
    """(256, 256, 3): degrees, 0..1, 0..1."""
    hsv: NDArray[np.float32] = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    return hsv


def _middle(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The median colour; hue is taken where it means something."""
    strong = pixels[pixels[:, 1] * pixels[:, 2] > 0.05]
    hues = np.deg2rad(strong[:, 0]) if len(strong) > len(pixels) // 4 else np.zeros(1)
    hue = np.rad2deg(np.arctan2(np.median(np.sin(hues)), np.median(np.cos(hues)))) % 360
    return np.array([hue, np.median(pixels[:, 1]), np.median(pixels[:, 2])], np.float32)


def _clothing(hsv: NDArray[np.float32], measures: Measures) -> tuple[str, str]:
    left, right = measures.points[FACE_LEFT, 0], measures.points[FACE_RIGHT, 0]
    chin = measures.points[CHIN]
    width = right - left
    rows, columns = np.mgrid[0:256, 0:256]
    low = (rows > max(216.0, chin[1] + 0.25 * width)) & (measures.person > 0.8)
    sides = low & ((columns < left + 0.05 * width) | (columns > right - 0.05 * width))
    if sides.sum() < 400:
        return "", ""
    shoulders = _middle(hsv[sides])
    middle = low & (np.abs(columns - chin[0]) < 0.16 * width)
    collar = hsv[middle][:, 2] if middle.sum() > 100 else np.zeros(1, np.float32)
    contrast = float(np.percentile(collar, 75)) - float(shoulders[2])
    sober = shoulders[2] < 0.45 or shoulders[1] < 0.25
    formal = contrast > 0.3 and sober
    kind = "casual" if not formal else "suit" if measures.woman < 0.5 else "blazer"
    return kind, colour_name(shoulders)


def _background(picture: Picture, hsv: NDArray[np.float32], measures: Measures) -> tuple[str, str]:
    behind = measures.person < 0.1
    behind[200:] = False  # shoulders' edges
    if behind.sum() < 3000:
        return "", ""
    pixels = hsv[behind]
    colour = _middle(pixels)
    red = ((pixels[:, 0] < 15) | (pixels[:, 0] > 340)) & (pixels[:, 1] > 0.5) & (pixels[:, 2] > 0.25)
    green = (pixels[:, 0] > 65) & (pixels[:, 0] < 165) & (pixels[:, 1] > 0.18) & (pixels[:, 2] > 0.12)
    white = (pixels[:, 1] < 0.2) & (pixels[:, 2] > 0.6)
    spread = float(np.std(pixels[:, 2]))
    if 0.02 < red.mean() < 0.6 and white.mean() > 0.015 and spread > 0.1:
        return "flag", colour_name(colour)
    if green.mean() > 0.25 and spread > 0.08:
        return "outdoor", ""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    edges = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))[behind]
    if spread < 0.14 and float(np.percentile(edges, 90)) < 0.22:
        return "dark" if colour[2] < 0.22 else "plain", colour_name(colour)
    sky = (pixels[:, 0] > 190) & (pixels[:, 0] < 235) & (pixels[:, 2] > 0.7) & (pixels[:, 1] > 0.15)
    if sky.mean() > 0.3:
        return "outdoor", ""
    return "office", ""


def _expression(measures: Measures) -> str:
    if measures.smile > 0.45:
        return "broad smile" if measures.jaw_open > 0.06 else "smiling"
    return "serious expression" if measures.smile < 0.12 else ""


def _light(hsv: NDArray[np.float32], measures: Measures) -> str:
    """Soft where both halves of the face are equally bright, dramatic where one is much darker."""
    _, top, width, height = measures.found.box
    rows = slice(max(0, int(top + 0.25 * height)), int(top + 0.9 * height))
    middle = int(measures.points[BETWEEN_EYES, 0])
    halves = [
        hsv[rows, max(0, int(middle - 0.35 * width)) : middle, 2],
        hsv[rows, middle : int(middle + 0.35 * width), 2],
    ]
    if min(half.size for half in halves) < 50:
        return ""
    difference = abs(float(np.mean(halves[0])) - float(np.mean(halves[1])))
    return "soft light" if difference < 0.05 else "dramatic light" if difference > 0.14 else ""


def _glasses(picture: Picture, measures: Measures) -> str:
    score = glasses_score(picture, measures)
    return "glasses" if score > 0.7 else "no glasses" if score < 0.42 else ""


def glasses_score(picture: Picture, measures: Measures) -> float:
    """Edge strength along the bridge of the nose and under the eyes: a frame leaves edges there."""
    right, left = measures.found.points[0], measures.found.points[1]
    distance = float(np.linalg.norm(left - right))
    angle = float(np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0])))
    middle = (right + left) / 2
    matrix = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), angle, 60 / distance)
    matrix[:, 2] += np.array([64 - middle[0], 40 - middle[1]])
    eyes = cv2.warpAffine(picture, matrix, (128, 80))  # eyes at (34, 40) and (94, 40)
    grey = cv2.GaussianBlur(cv2.cvtColor(eyes, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
    grey = (grey - grey.mean()) / (grey.std() + 1e-6)
    across = np.abs(cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    along = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0))
    bridge = float(across[26:46, 58:70].max(axis=0).mean())
    under = float((across[52:68, 22:46].max(axis=0).mean() + across[52:68, 82:106].max(axis=0).mean()) / 2)
    temple = float((along[32:48, 4:16].max(axis=1).mean() + along[32:48, 112:124].max(axis=1).mean()) / 2)
    return (0.45 * bridge + 0.4 * under + 0.15 * temple) / 4.0
