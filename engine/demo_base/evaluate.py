"""How like a person the base draws them: before and after an adapter, against held-out photos and
strangers.

    python -m engine.demo_base.evaluate BASE PEOPLE DATA OUT [--only NAME ...] [--seconds S] [--device cuda]

BASE: a folder in the diffusers format. PEOPLE: a folder a person. DATA: what `prepare.py` wrote (YuNet and
SFace). OUT receives `likeness.json` and a sheet a person: held-out photos, the base, the adapter.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import FluxPipeline
from numpy.typing import NDArray
from torch import Tensor

from engine.demo_base.adapt import REACHES, AdapterPlan, train_adapter
from engine.demo_base.identity import Identity, align
from engine.demo_base.latents import decode, encode
from engine.demo_base.portrait import Detector, Picture, crop_portrait
from engine.demo_base.prepare import read_picture
from engine.demo_base.sampling import sample
from engine.demo_base.sheet import save_sheet, to_bytes

CAPTION = "photo of sks person"
STYLES = (
    "photo of sks person, wearing a navy suit, light grey studio background, soft light, smiling",
    "photo of sks person, wearing a casual shirt, blurred outdoor background, smiling",
    "photo of sks person, wearing a black suit and tie, office background, soft light",
    "black and white, photo of sks person, dark studio background, dramatic light",
)
NOT_FRONTAL = ("back", "left", "right", "posture", "bfront")
HELD_OUT = 4


class Faces:
    """YuNet and SFace."""

    def __init__(self, data: Path) -> None:
        self.detector = Detector(str(data / "face_detection_yunet_2023mar.onnx"))
        self._net = Identity(data / "faces.safetensors")

    @torch.no_grad()
    def identity(self, picture: Picture) -> NDArray[np.float32] | None:
        """(128,) of length 1, or None where no face is found."""
        found = self.detector.largest(picture)
        if found is None:
            return None
        pixels = torch.tensor(picture).permute(2, 0, 1)[None].float()
        embedding: NDArray[np.float32] = self._net(align(pixels, torch.tensor(found.points)[None]))[0].numpy()
        return embedding


def load_person(folder: Path, faces: Faces) -> list[Picture]:
    """Portrait crops of every usable photo, in a fixed mixed order."""
    paths = [p for p in sorted(folder.glob("*.jpg")) if not any(word in p.stem for word in NOT_FRONTAL)]
    crops = [crop_portrait(read_picture(path), faces.detector) for path in paths]
    usable = [crop for crop in crops if crop is not None and faces.identity(crop) is not None]
    order = np.random.default_rng(0).permutation(len(usable))
    return [usable[i] for i in order]


def to_tensor(pictures: list[Picture]) -> Tensor:
    """(n, 3, h, w) in -1..1."""
    return torch.tensor(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def cosines(made: list[Picture], real: list[Picture], faces: Faces) -> list[float]:
    """Every made picture against every real one; a picture without a face counts as 0."""
    known = np.stack([e for e in map(faces.identity, real) if e is not None])
    rows = [faces.identity(picture) for picture in made]
    return [float(v) for row in rows for v in (known @ row if row is not None else np.zeros(len(known)))]


@torch.no_grad()
def condition(base: FluxPipeline, prompts: list[str]) -> tuple[Tensor, Tensor]:
    """T5 states and CLIP's pooled vector, as the pipeline makes them."""
    states, pooled, _ = base.encode_prompt(
        prompt=prompts, prompt_2=prompts, max_sequence_length=base.tokenizer_2.model_max_length
    )
    return states.float(), pooled.float()


def draw(base: FluxPipeline, prompts: list[str], guidance: float, seed: int = 7) -> list[Picture]:
    """One picture a prompt."""
    states, pooled = condition(base, prompts)
    pictures = decode(base.vae, sample(base.transformer, states, pooled, seed, guidance=guidance))
    return list(to_bytes(pictures).permute(0, 2, 3, 1).cpu().numpy())


def judge(
    base_folder: Path,
    photos: list[Picture],
    faces: Faces,
    plan: AdapterPlan,
    guidance: float,
    sheet: Path,
    device: str,
) -> dict[str, object]:
    """One person's row of the table."""
    base = FluxPipeline.from_pretrained(str(base_folder)).to(device)
    base.transformer.to(torch.bfloat16)
    held, chosen = photos[:HELD_OUT], photos[HELD_OUT : HELD_OUT + 15]
    before = draw(base, list(STYLES), guidance)
    states, pooled = condition(base, [CAPTION])
    latents = encode(base.vae, to_tensor(chosen).to(device))
    report = train_adapter(base.transformer, states, pooled, latents, plan)
    began = time.monotonic()
    after = draw(base, [*STYLES, CAPTION, CAPTION, CAPTION, CAPTION], guidance)
    save_sheet(to_tensor([*held, *before, *after]), sheet, columns=4)
    return {
        "base": float(np.median(cosines(before, held, faces))),
        "adapter_styles": float(np.median(cosines(after[:4], held, faces))),
        "adapter_plain": float(np.median(cosines(after[4:], held, faces))),
        "real": float(np.median(cosines(chosen, held, faces))),
        "seconds_for_8": time.monotonic() - began,
        **report,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("base", "people", "data", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--reach", choices=list(REACHES), default="blocks")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.backends.cuda.enable_cudnn_sdp(False)  # its backward pass crashes on an H200 (torch 2.11)
    faces, table = Faces(given.data), {}
    given.out.mkdir(parents=True, exist_ok=True)
    people = {p.name: load_person(p, faces) for p in sorted(given.people.iterdir()) if p.is_dir()}
    plan = replace(
        AdapterPlan(),
        rank=given.rank,
        steps=given.steps,
        seconds=given.seconds,
        batch=given.batch,
        learning_rate=given.rate,
        targets=REACHES[given.reach],
    )
    for name, photos in people.items():
        if given.only and name not in given.only:
            continue
        others = [other[0] for key, other in people.items() if key != name]
        table[name] = judge(
            given.base, photos, faces, plan, given.guidance, given.out / f"{name}.jpg", given.device
        )
        table[name]["strangers"] = float(np.median(cosines(others, photos[:HELD_OUT], faces)))
        print(
            name, {k: round(v, 3) for k, v in table[name].items() if isinstance(v, float | int)}, flush=True
        )
        (given.out / "likeness.json").write_text(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
