"""What float8 does to a training's losses, beside what bfloat16 does to them: the small base, on any CPU.

    nice python -m benchmarks.float8_losses     # 20 minutes of one core

The demo's selfies are trained on in float32, in bfloat16 and in float8 (`engine.float8`: bfloat16 with the
frozen products in float8), in the blocks that a GPU computes with, from the same weights rounded to bfloat16.
A seed alone decides the first adapter and each step's photo, caption, sigma and noise, so losses of one step
are compared in pairs. Finished adapters are all measured in float32 and with the same draws, so that they
alone differ. Writes benchmarks/results/float8_losses.md.
"""

import argparse
import datetime
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from benchmarks.commit import commit
from engine import flow
from engine.batches import Batches, Draw
from engine.config import PRESETS, EngineConfig
from engine.dataset import Dataset
from engine.float8 import FrozenFloat8Linear, fits
from engine.likeness import centre
from engine.lora import Adapter, AdapterInfo, AdapterSlot
from engine.messages import CheckPhoto
from engine.models import load_base
from engine.photos import PhotoChecker
from engine.presets import Recipe, recipe_for
from engine.selfies import Selfie, Split, split_selfies, usable_selfies
from engine.trainer import Training

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "float8_losses.md"
FLOAT32, BFLOAT16, FLOAT8 = PRECISIONS = ("float32", "bfloat16", "float8")
WINDOWS = 10
EXAM_STEPS, EXAM_SEED = 20, 0  # steps' worth of draws that a finished adapter is measured with
ALL, SEEN, UNSEEN = "all steps", "finished: selfies trained on", "finished: selfies held out"

Losses = dict[str, NDArray[np.float64]]  # by precision


@dataclass(frozen=True)
class Row:
    """One figure. losses: (seeds,) of each precision."""

    name: str
    losses: Losses

    def between(self, one: str, other: str) -> NDArray[np.float64]:
        """(seeds,): what the one loses more than the other."""
        return self.losses[one] - self.losses[other]

    @property
    def moved(self) -> float:
        """By how much float8's mean is off bfloat16's, either way."""
        return abs(float(self.between(FLOAT8, BFLOAT16).mean()))

    @property
    def rounding(self) -> float:
        """bfloat16's noise by its rounding: how far it is off float32, the root of the mean square."""
        return float(np.sqrt(np.square(self.between(BFLOAT16, FLOAT32)).mean()))

    @property
    def spread(self) -> float:
        """bfloat16's noise by its seeds: their standard deviation."""
        return float(self.losses[BFLOAT16].std(ddof=1))


class Computing:
    """The base in one precision, and the selfies encoded for it."""

    def __init__(self, precision: str, config: EngineConfig, split: Split, preset: str) -> None:
        base = load_base(config)
        self.precision, dtype = precision, torch.float32 if precision == FLOAT32 else torch.bfloat16
        transformer = base.transformer.to(torch.bfloat16).to(dtype)
        self.base = replace(base, transformer=transformer, dtype=dtype)
        self.recipe = recipe_for(preset, base.settings)
        self.slot = AdapterSlot(transformer, base.adapted_too, lean=True)
        if precision == FLOAT8:
            self.slot.compute_with(lambda linear: FrozenFloat8Linear(linear) if fits(linear) else linear)
        self.seen, self.unseen = self._dataset(split), self._dataset(Split(split.held_out, ()))

    def _dataset(self, split: Split) -> Dataset:
        dataset = Dataset.of(split, self.recipe)
        for selfie in split.training:
            dataset.add(selfie, self.base, self.recipe)
        while dataset.say(self.base):
            pass
        return dataset

    def training(self, recipe: Recipe, split: Split, seed: int, work_dir: Path) -> Training:
        """At its first step, as `engine.training_work` begins it."""
        info = AdapterInfo("adapter", "person", self.base.folder.revision, recipe.rank)
        identities = [selfie.facts.identity for selfie in split.training if selfie.facts]
        accelerator = Accelerator(cpu=True, mixed_precision="no")
        return Training(
            self.base, self.slot, self.seen, recipe, info, work_dir, seed, accelerator, centre(identities)
        )

    def exam(self, adapter: Adapter, dataset: Dataset) -> float:
        """Mean loss at what a training would draw, which is always the same."""
        generator = torch.Generator().manual_seed(EXAM_SEED)
        batches = Batches(dataset, self.recipe, self.base.shift, generator)
        draws = batches.draw_ahead(EXAM_STEPS)
        with torch.no_grad(), self.slot.holding(adapter):
            return float(np.mean([self._loss(draw, dataset) for draw in draws]))

    def _loss(self, draw: Draw, dataset: Dataset) -> float:
        view = draw.view
        clean, noise, text = view.latents[None], draw.noise[None], dataset.texts[draw.caption]
        noised = flow.noised(clean, noise, draw.sigma)
        predicted = self.base.predict(
            noised, draw.sigma, [text], view.rows, view.columns, self.recipe.guidance
        )
        return float(flow.velocity_loss(predicted, clean, noise, view.weights[None]))


class Comparison:
    """All precisions side by side. What was measured so far is in `rows`."""

    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        config = EngineConfig(base=options.base, device="cpu", cache_dir=str(work))
        self.work, self.split = work, split_selfies(selfies(config, work))
        self.computing = [Computing(each, config, self.split, options.preset) for each in PRECISIONS]
        usual = self.computing[0].recipe
        self.recipe = replace(usual, steps=options.steps or usual.steps)
        self.untrained: list[tuple[float, float]] = []
        self._steps: dict[str, list[list[float]]] = {each: [] for each in PRECISIONS}
        self._finished: dict[str, list[tuple[float, float]]] = {each: [] for each in PRECISIONS}

    def train(self, seed: int) -> None:
        """In each precision."""
        for computing in self.computing:
            training = computing.training(self.recipe, self.split, seed, self.work)
            if computing.precision == FLOAT32:
                self.untrained.append(self._exams(training.adapter))
            steps = [training.step() for _ in range(self.recipe.steps)]
            self._steps[computing.precision].append(steps)
            self._finished[computing.precision].append(self._exams(training.adapter))
            print(f"seed {seed}, {computing.precision}: {np.mean(steps):.4f}", flush=True)

    @property
    def rows(self) -> list[Row]:
        """Windows of the training, all of it, and what came of it."""
        steps = {each: np.array(losses) for each, losses in self._steps.items()}
        finished = {each: np.array(losses) for each, losses in self._finished.items()}
        made = [
            Row(
                f"{places[0] + 1} to {places[-1] + 1}",
                {each: losses[:, places].mean(axis=1) for each, losses in steps.items()},
            )
            for places in np.array_split(np.arange(self.recipe.steps), WINDOWS)
        ]
        made.append(Row(ALL, {each: losses.mean(axis=1) for each, losses in steps.items()}))
        for place, name in enumerate((SEEN, UNSEEN)):
            made.append(Row(name, {each: losses[:, place] for each, losses in finished.items()}))
        return made

    def _exams(self, adapter: Adapter) -> tuple[float, float]:
        exact = self.computing[0]
        return exact.exam(adapter, exact.seen), exact.exam(adapter, exact.unseen)


def selfies(config: EngineConfig, work: Path) -> list[Selfie]:
    """The demo's, checked as they are when they come."""
    checker, facts, clean = PhotoChecker(config), dict[str, dict](), list[str]()
    for photo in sorted((ROOT / "bot" / "demo_selfies").glob("*.jpg")):
        clean.append(str(work / photo.name))
        request = CheckPhoto(photo.stem, photo.stem, str(photo), clean[-1], dict(facts))
        facts[photo.stem] = checker.check(request).facts
    return usable_selfies(clean, facts)


def verdict(rows: Sequence[Row]) -> str:
    """Whether float8 stays within bfloat16's noise, of both kinds, in every row."""
    by_seeds = _stay(sum(row.moved <= row.spread for row in rows), len(rows))
    by_rounding = _stay(sum(row.moved <= row.rounding for row in rows), len(rows))
    apart = {row.name: row.between(FLOAT8, BFLOAT16) for row in rows}
    known = sum(row.moved > 2 * _error(apart[row.name]) for row in rows)
    shares = [
        f"{apart[row.name].mean() / row.losses[BFLOAT16].mean():+.2%} ({row.name})"
        for row in rows
        if row.name in (ALL, SEEN, UNSEEN)
    ]
    return (
        f"Float8's losses {by_seeds} bfloat16's noise from seed to seed, and {by_rounding} that of its"
        f" rounding. They differ from bfloat16's by {', '.join(shares)}; by more than two standard errors in"
        f" {known} of {len(rows)} rows."
    )


def _stay(within: int, of: int) -> str:
    return f"{'stay' if within == of else 'do not stay'} ({within} of {of} rows) within"


def _error(values: NDArray[np.float64]) -> float:
    """Standard error of the mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def table(rows: Sequence[Row]) -> list[str]:
    """Means over seeds; of differences with their standard errors."""

    def line(row: Row) -> str:
        means = [f"{row.losses[each].mean():.4f}" for each in PRECISIONS]
        pairs = [row.between(FLOAT8, BFLOAT16), row.between(BFLOAT16, FLOAT32)]
        apart = [f"{pair.mean():+.5f} ± {_error(pair):.5f}" for pair in pairs]
        noise = [f"{row.rounding:.5f}", f"{row.spread:.5f}"]
        return f"| {' | '.join([row.name, *means, *apart, *noise])} |"

    return [
        "| steps | float32 | bfloat16 | float8 | float8 - bfloat16 | bfloat16 - float32"
        " | bfloat16's noise: rounding | from seed to seed |",
        "|---|---|---|---|---|---|---|---|",
        *map(line, rows),
    ]


def page(comparison: Comparison, options: argparse.Namespace) -> str:
    """What is written down, of two seeds or more."""
    seen, unseen = np.mean(comparison.untrained, axis=0)
    versions = ", ".join(f"{each} {version(each)}" for each in ("torch", "diffusers"))
    split = comparison.split
    return "\n".join(
        [
            "# Losses in float8",
            "",
            f"{datetime.datetime.now(datetime.UTC).date()}, commit {commit()}, {platform.machine()}, Python"
            f" {platform.python_version()}, {versions}. Base {options.base}, preset {options.preset},"
            f" {comparison.recipe.steps} steps of {comparison.recipe.batch_size},"
            f" {len(comparison.untrained)} seeds; {len(split.training)} of the demo's selfies trained on,"
            f" {len(split.held_out)} held out. Again: `python -m benchmarks.float8_losses`.",
            "",
            "Goal: float8's losses stay within the noise of bfloat16.",
            "",
            *table(comparison.rows),
            "",
            "Differences are paired by step, means over seeds ± their standard error. Rounding: the root mean"
            " square of bfloat16 - float32. From seed to seed: bfloat16's standard deviation.",
            "",
            "Finished adapters are measured in float32 with"
            f" {EXAM_STEPS * comparison.recipe.batch_size} draws, the same for all; before the training they"
            f" lose {seen:.4f} and {unseen:.4f}.",
            "",
            verdict(comparison.rows),
            "",
        ]
    )


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="demo")
    parser.add_argument("--preset", choices=PRESETS, default="balanced")
    parser.add_argument("--steps", type=int, help="the preset's")
    parser.add_argument("--seeds", type=int, default=4, help="two at least")
    parser.add_argument("--result", type=Path, default=RESULT, help="the page")
    return parser.parse_args(arguments)


def main() -> None:
    """See the module."""
    options = parse()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(options, Path(folder))
        for seed in range(1, options.seeds + 1):
            comparison.train(seed)
            if seed > 1:  # what was measured until something failed is worth having
                options.result.write_text(page(comparison, options))
        print(page(comparison, options))


if __name__ == "__main__":
    main()
