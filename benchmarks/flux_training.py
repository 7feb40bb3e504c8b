"""Training at FLUX.1-dev's real geometry, with random weights, on cards of 80, 24 and 16 GB.

    python -m benchmarks.flux_training

Needs one NVIDIA GPU with as much memory as the largest card of --cards, and no download: 19 double and 38
single blocks of width 3072, 11.9e9 weights, random, in bfloat16; 512 text tokens. Each card is a process of
its own whose allocator is held to the card's size less 1 GiB (`torch.cuda.set_per_process_memory_fraction`:
what asks for more is refused). The weights come from the host's memory as a real base's do. What runs is
the product's own `Training`: rank 16, batch 1, moving average, face mask; in the plan of the card's tier
(`engine.tiers`): one that does not fit at a size is given up for the next smaller. Writes
benchmarks/results/flux_training.md. About 4 minutes.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import FluxTransformer2DModel

from engine.base_folder import BaseFolder, BaseSettings
from engine.crops import Framing
from engine.dataset import Dataset, Photo, View
from engine.lora import AdapterInfo, AdapterSlot
from engine.memory import MemoryPlan, shrink
from engine.models import VAE_FACTOR, Base, TextCondition
from engine.presets import Recipe, recipe_for
from engine.residency import plan_of
from engine.sigma_shift import SigmaShift
from engine.tiers import CPU_TIER, TIERS
from engine.trainer import Training

RESULT = Path(__file__).parent / "results" / "flux_training.md"
HOST = torch.device("cpu")
GIB = 1 << 30
SIZES_PX = (512, 768, 1024)
STEPS = 3
SPARE_GIB = 1.0  # the context, the driver, a desktop
GEOMETRY: dict[str, Any] = {
    "num_layers": 19, "num_single_layers": 38, "attention_head_dim": 128, "num_attention_heads": 24,
    "joint_attention_dim": 4096, "pooled_projection_dim": 768, "guidance_embeds": True, "in_channels": 64,
    "patch_size": 1, "axes_dims_rope": (16, 56, 56),
}  # fmt: skip
SMALL = {
    **GEOMETRY, "num_layers": 2, "num_single_layers": 4, "attention_head_dim": 16, "num_attention_heads": 2,
    "joint_attention_dim": 32, "pooled_projection_dim": 32, "axes_dims_rope": (4, 6, 6),
}  # fmt: skip
OURS = {tier.name: plan_of(tier) for tier in TIERS}
# The product's plan for the card, and what is left where that does not fit.
PLANS = {
    80: (OURS["80gb"], OURS["48gb"]),
    48: (OURS["48gb"], OURS["24gb"]),
    24: (OURS["24gb"], OURS["16gb"]),
    16: (OURS["16gb"], OURS["12gb"]),
}


@dataclass(frozen=True)
class Row:
    """seconds: a step; 0 where it did not fit. peak, reserved: GiB. resumed: what a resume showed."""

    card: int
    plan: str
    side_px: int
    seconds: float = 0.0
    peak: float = 0.0
    reserved: float = 0.0
    resumed: str = ""


def random_transformer(
    geometry: dict[str, Any], device: torch.device, home: torch.device = HOST
) -> FluxTransformer2DModel:
    """At home, frozen, bfloat16; drawn on the device, a tensor at a time."""
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(**geometry)
    generator = torch.Generator(device).manual_seed(1)
    for name, parameter in list(transformer.named_parameters()):
        path, kind = name.rsplit(".", 1)
        value = torch.zeros(parameter.shape, dtype=torch.bfloat16, device=device)
        if parameter.ndim > 1:
            value.normal_(std=0.02, generator=generator)
        elif kind == "weight":
            value.fill_(1)
        made = torch.nn.Parameter(value.to(home), requires_grad=False)
        setattr(transformer.get_submodule(path), kind, made)
    return transformer.eval()


def random_base(transformer: FluxTransformer2DModel, device: torch.device) -> Base:
    """Without encoders: a training asks for none once its data is encoded."""
    shift = SigmaShift(_class_name="FlowMatchEulerDiscreteScheduler", use_dynamic_shifting=True, shift=3.0)
    folder = BaseFolder(Path("random"), "random", BaseSettings(), shift)
    return Base(folder, transformer, None, None, None, None, None, device, torch.bfloat16, CPU_TIER)


def random_dataset(base: Base, side_px: int, text_tokens: int) -> Dataset:
    generator = torch.Generator().manual_seed(2)
    config, side = base.transformer.config, side_px // VAE_FACTOR
    tokens = side * side // 4
    caption = "photo of ohwx person"
    states = torch.randn(text_tokens, config.joint_attention_dim, generator=generator)
    pooled = torch.randn(config.pooled_projection_dim, generator=generator)
    text = TextCondition(states.to(base.device, base.dtype), pooled.to(base.device, base.dtype))
    photos = {}
    for name in "abcd":
        latents = torch.randn(tokens, config.in_channels, generator=generator)
        weights = torch.rand(tokens, 4, generator=generator) + 0.5
        view = View(latents, side, side, weights, Framing.CLOSE_UP, 1.0, name.encode(), caption)
        photos[name] = Photo((view,))
    return Dataset(photos, {caption: text}, plain=caption)


class Card:
    """One process: a base under a cap, and what runs on it."""

    def __init__(self, card: int, geometry: dict[str, Any], device: torch.device, work_dir: Path) -> None:
        self.card, self.geometry, self.device, self.work_dir = card, geometry, device, work_dir
        self.on_gpu = device.type == "cuda"
        if self.on_gpu:
            total = torch.cuda.get_device_properties(device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, (card - SPARE_GIB) * GIB / total), device)
            torch.backends.cuda.enable_cudnn_sdp(False)  # as engine.models does, and why
        self.accelerator = Accelerator(cpu=not self.on_gpu, mixed_precision="no")
        self.base: Base | None = None
        self.slot: AdapterSlot | None = None
        self.plan: MemoryPlan | None = None

    def carry_out(self, plan: MemoryPlan) -> None:
        """The base in that plan; only `recompute` is switched on one that is there."""
        if self.plan is not None and replace(self.plan, recompute=plan.recompute) == plan and self.base:
            shrink(self.base.transformer, plan, self.device)
        else:
            self.base = self.slot = None
            self.collect()
            transformer = random_transformer(self.geometry, self.device)
            shrink(transformer, plan, self.device)
            self.base, self.slot = random_base(transformer, self.device), AdapterSlot(transformer)
        self.plan = plan

    def collect(self) -> None:
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def training(self, side_px: int, text_tokens: int) -> Training:
        assert self.base is not None and self.slot is not None
        recipe: Recipe = replace(recipe_for("balanced", BaseSettings()), rank=16, resolutions_px=(side_px,))
        info = AdapterInfo("a", "p", "random", recipe.rank)
        data = random_dataset(self.base, side_px, text_tokens)
        place = self.work_dir / f"{side_px}"
        place.mkdir(exist_ok=True)
        return Training(self.base, self.slot, data, recipe, info, place, 7, self.accelerator)

    def seconds(self, training: Training, count: int) -> tuple[float, list[float]]:
        begun = time.perf_counter()
        losses = [training.step() for _ in range(count)]
        return (time.perf_counter() - begun) / count, losses

    def measure(self, plan: MemoryPlan, side_px: int, text_tokens: int, resume: bool) -> Row:
        """Raises OutOfMemoryError."""
        self.carry_out(plan)
        self.collect()
        training = self.training(side_px, text_tokens)
        self.seconds(training, 1)
        seconds, _ = self.seconds(training, STEPS)
        row = Row(self.card, named(plan), side_px, round(seconds, 3))
        if self.on_gpu:
            peak, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
            row = replace(row, peak=round(peak / GIB, 2), reserved=round(reserved / GIB, 2))
        return replace(row, resumed=self.resume(training, side_px, text_tokens)) if resume else row

    def resume(self, training: Training, side_px: int, text_tokens: int) -> str:
        """Save, go on; then take the checkpoint over and go on again: the same state, the same losses?"""
        training.save()
        at = training.step_index
        saved = {name: t.to("cpu", copy=True) for name, t in training.adapter.tensors.items()}
        _, straight = self.seconds(training, 2)
        del training
        self.collect()
        again = self.training(side_px, text_tokens)
        exact = again.resumed and again.step_index == at
        exact &= all(torch.equal(t.cpu(), saved[name]) for name, t in again.adapter.tensors.items())
        _, resumed = self.seconds(again, 2)
        apart = max(abs(a - b) for a, b in zip(straight, resumed, strict=True))
        again.discard()
        return f"at step {at}, state {'exact' if exact else 'WRONG'}, losses {apart:.1e} apart"


def named(plan: MemoryPlan) -> str:
    kept = {"none": "keep activations", "some": "keep what fits", "all": "recompute"}
    parts = [plan.weights, kept[plan.recompute]]
    return " + ".join(
        [*parts, f"{plan.offload_blocks} blocks on the host"][: 3 if plan.offload_blocks else 2]
    )


def run_card(options: argparse.Namespace) -> None:
    """Print a row as JSON for each size, and for each plan that was given up."""
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    sizes = (32, 64) if options.small else SIZES_PX
    geometry, text_tokens = (SMALL, 16) if options.small else (GEOMETRY, 512)
    with tempfile.TemporaryDirectory() as folder:
        card = Card(options.card, geometry, device, Path(folder))
        plans, level = PLANS[options.card], 0
        for side_px in sizes:  # a larger picture never needs less: no plan is tried again that did not fit
            while level < len(plans):
                try:
                    row = card.measure(plans[level], side_px, text_tokens, resume=side_px == sizes[0])
                except torch.OutOfMemoryError:
                    row = Row(options.card, named(plans[level]), side_px, resumed="does not fit")
                    level += 1
                print("ROW " + json.dumps(vars(row)), flush=True)
                if row.seconds:
                    break


def run_all(options: argparse.Namespace) -> list[Row]:
    """Each card in a process of its own, until the time is over."""
    rows, deadline = [], time.monotonic() + options.most_seconds
    for card in options.cards:
        left = deadline - time.monotonic()
        command = [sys.executable, "-m", "benchmarks.flux_training", "--card", str(card)]
        command += ["--small"] if options.small else []
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            output, _ = process.communicate(timeout=max(1.0, left))
            ended = f"ended with {process.returncode}" if process.returncode else ""
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            ended = "ran out of time"
        found = [Row(**json.loads(line[4:])) for line in output.splitlines() if line.startswith("ROW ")]
        rows += [*found, *([Row(card, ended, 0)] if ended else [])]
    return rows


def report(rows: list[Row]) -> str:
    where = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu, small geometry"
    lines = [
        "# Training at FLUX.1-dev's geometry",
        "",
        f"{where}, torch {torch.__version__}, random weights, rank 16, batch 1, {STEPS} steps after one."
        f" Memory of each card held to its size less {SPARE_GIB:.0f} GiB.",
        "",
        "| card | plan | px | s a step | peak GiB | reserved GiB | resume |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        figures = f"{row.seconds:.2f} | {row.peak:.1f} | {row.reserved:.1f}" if row.seconds else "- | - | -"
        lines.append(f"| {row.card} GB | {row.plan} | {row.side_px} | {figures} | {row.resumed} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cards", type=int, nargs="+", default=[80, 24, 16], choices=sorted(PLANS))
    parser.add_argument("--most-seconds", type=float, default=280)
    parser.add_argument(
        "--small", action="store_true", help="a few thousand weights, to try the program itself"
    )
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--card", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.card:
        run_card(options)
        return
    text = report(run_all(options))
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
