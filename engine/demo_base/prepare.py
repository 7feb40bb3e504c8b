"""Measure, filter and pack the training portraits into one small archive that travels to the GPU machine.

    python -m engine.demo_base.prepare PORTRAITS MODELS PEOPLE OUT

PORTRAITS: folder with `256/*.jpg` and `portraits.csv`. MODELS: the five model files of `measure.py`.
PEOPLE: one folder a test person; whoever looks like one of them is left out. OUT: folder for
`portraits.zip`, `faces.safetensors` (SFace, as half-precision tensors) and the detector's file.
"""

import argparse
import csv
import json
import shutil
import zipfile
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.demo_base.attributes import describe
from engine.demo_base.measure import Measurer, Measures
from engine.demo_base.portrait import Picture

PROVEN = ("us-house", "us-senate", "18f-team")
"""Origins whose licence is proven for every file."""
TOO_ALIKE = 0.35
"""SFace cosine to a test person from which a portrait is left out."""
BACKGROUND_PX = 48


def read_picture(path: Path) -> Picture:
    """RGB."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"{path} is not a picture")
    return np.ascontiguousarray(bgr[:, :, ::-1])


def known_identities(people: Path, measurer: Measurer) -> NDArray[np.float32]:
    """(n, 128): the mean embedding of every test person, length 1."""
    means = []
    for folder in sorted(people.iterdir()):
        rows = []
        for path in sorted(folder.glob("*.jpg")):
            picture = read_picture(path)
            found = measurer.detector.largest(picture)
            if found is not None:
                rows.append(measurer.identity(picture, found))
        if rows:
            mean = np.mean(rows, axis=0)
            means.append(mean / np.linalg.norm(mean))
    return np.stack(means)


def bare_background(picture: Picture, person: NDArray[np.float32]) -> Picture | None:
    """What is behind the person, small and blurred, filled up in the person's place; None if too little."""
    free = (cv2.erode((person < 0.15).astype(np.uint8), np.ones((9, 9))) > 0).astype(np.float32)
    if free.mean() < 0.18:
        return None
    filled = picture.astype(np.float32) * free[..., None]
    total, weight = np.zeros_like(filled), np.zeros_like(free)
    for sigma in (4.0, 12.0, 36.0, 90.0):
        share = np.clip(1 - weight, 0, 1)
        near = cv2.GaussianBlur(free, (0, 0), sigma)
        total += (share * np.minimum(near, 1.0) / (near + 1e-4))[..., None] * cv2.GaussianBlur(
            filled, (0, 0), sigma
        )
        weight += share * np.minimum(near, 1.0)
    out = total / (weight[..., None] + 1e-4)
    small: Picture = cv2.resize(out, (BACKGROUND_PX, BACKGROUND_PX), interpolation=cv2.INTER_AREA)
    return np.clip(small, 0, 255).astype(np.uint8)


def pack(portraits: Path, models: Path, people: Path, out: Path) -> None:
    """Write OUT/portraits.zip."""
    out.mkdir(parents=True, exist_ok=True)
    measurer = Measurer(models)
    known = known_identities(people, measurer)
    with (portraits / "portraits.csv").open() as file:
        origins = {row["file"]: row["origin"] for row in csv.DictReader(file)}
    index, arrays, left_out = [], [], 0
    with zipfile.ZipFile(out / "portraits.zip", "w", zipfile.ZIP_STORED) as archive:
        for path in sorted((portraits / "256").glob("*.jpg")):
            if origins[path.name] not in PROVEN:
                continue
            picture = read_picture(path)
            measures = measurer.measure(picture)
            if measures is None or float((known @ measures.identity).max()) >= TOO_ALIKE:
                left_out += 1
                continue
            index.append(
                {"file": path.name, "origin": origins[path.name], **asdict(describe(picture, measures))}
            )
            arrays.append(measures)
            archive.write(path, path.name)
            _write_png(archive, path.with_suffix(".person.png").name, _to_bytes(measures.person))
            background = bare_background(picture, measures.person)
            if background is not None:
                _write_png(archive, path.with_suffix(".behind.png").name, background[:, :, ::-1])
        archive.writestr("index.json", json.dumps(index, indent=0))
        with archive.open("arrays.npz", "w") as handle:
            np.savez_compressed(handle, allow_pickle=False, **_stack(arrays))
    print(f"{len(index)} portraits packed, {left_out} left out (no face, or too like a test person)")
    shutil.copy(models / "face_detection_yunet_2023mar.onnx", out)


def _to_bytes(mask: NDArray[np.float32]) -> NDArray[np.uint8]:
    small = cv2.resize(mask, (128, 128), interpolation=cv2.INTER_AREA)
    mask_bytes: NDArray[np.uint8] = np.round(np.clip(small, 0, 1) * 255).astype(np.uint8)
    return mask_bytes


def _stack(rows: list[Measures]) -> dict[str, NDArray[np.float32]]:
    return {
        "points": np.stack([row.points for row in rows]).astype(np.float32),
        "five": np.stack([row.found.points for row in rows]).astype(np.float32),
        "box": np.array([row.found.box for row in rows], np.float32),
        "identity": np.stack([row.identity for row in rows]).astype(np.float32),
    }


def _write_png(archive: zipfile.ZipFile, name: str, bgr: NDArray[np.uint8]) -> None:
    archive.writestr(name, cv2.imencode(".png", bgr)[1].tobytes())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("portraits", "models", "people", "out"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    pack(arguments.portraits, arguments.models, arguments.people, arguments.out)
    from engine.demo_base.identity import convert

    convert(arguments.models / "face_recognition_sface_2021dec.onnx", arguments.out / "faces.safetensors")


if __name__ == "__main__":
    main()
