"""From the fifteenth accepted selfie to four headshots, end to end, at FLUX.1-dev's size with random weights.

    python -m benchmarks.selfies_to_headshots                       # a GPU of 80 GB, 9 minutes at most
    python -m benchmarks.selfies_to_headshots --tiny --device cpu   # the same code, to see that it runs

Transformer, T5, CLIP and autoencoder have FLUX.1-dev's sizes; all else is the engine itself, moved a quantum
at a time as engine/engine.py moves it, after the warm-up that the engine does at its start. Random weights
draw noise, in which nobody has a face. So whoever looks at a picture is shown one of the selfies instead: a
look takes as long as a look at a face, no candidate has a flaw (8 are drawn for 4, the usual number), and as
all looks at the adapter find the same, stopping early is off: the training takes all its steps. A stage
ends when the GPU has done it. What a shoot's pictures cost beside the GPU is not in its sum, but where it
waits for that.

Where OpenCV or the face models are missing: `--no-faces`, with a file of the selfies' facts that a run with
them writes (`--facts`). Writes benchmarks/results/selfies_to_headshots.md.
"""

import argparse
import datetime
import json
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from accelerate import Accelerator

from benchmarks.absent_packages import MISSING
from benchmarks.commit import commit
from benchmarks.random_flux import FLUX, TINY, random_flux
from benchmarks.stages import REST, Stages
from engine import curve, shoot_work
from engine.acceleration import Acceleration, keep_artifacts
from engine.base_folder import BaseSettings
from engine.beside import Beside
from engine.config import PRESETS, EngineConfig
from engine.dataset import Dataset
from engine.generator import Drawing
from engine.inspection import THUMBNAIL_PX, FaceFound, Inspection, Inspector
from engine.likeness import person_embedding
from engine.merging import Serving
from engine.messages import AdapterTrained, CheckPhoto, HeadshotsMade, MakeHeadshots, Progress, TrainAdapter
from engine.photos import PhotoChecker
from engine.pictures import Finish, Pixels, read_picture, write_picture
from engine.presets import Recipe, recipe_for
from engine.ranking import Standard
from engine.resources import Resources
from engine.shelf import AdapterShelf
from engine.shoot_work import ShootWork
from engine.tiers import TIERS
from engine.trainer import Training
from engine.training_work import CURVE, TrainingWork
from engine.validation import ValidationPlan
from engine.watermark import Watermark
from engine.work import Work

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "selfies_to_headshots.md"
GOAL_SECONDS = 180
HEADSHOTS = 4
PROMPT = "professional headshot of {subject}, wearing a navy suit, office background"
CHECK, STEPS, LOOKS, SAVING = "the last selfie's check", "training steps", "looks", "saving"
WATERMARK = Watermark()  # its networks are loaded at the first picture
KEEPING, INSPECTING, MARKING = "keeping candidates", "inspecting", "marking"
WAITING = "waiting for what is done beside the GPU"
TRAINING_STAGES = (
    (TrainingWork, "_prepare", "crops, masks, latents"),
    (Dataset, "say", "captions"),
    (TrainingWork, "_begin", "the adapter and its optimizer"),
    (Training, "step", STEPS),
    (TrainingWork, "_validate", LOOKS),
    (Training, "keep_best", SAVING),
    (Training, "begin_save", SAVING),
    (TrainingWork, "_finish", SAVING),
)
SHOOT_STAGES = (
    (AdapterShelf, "_read", "loading the adapter"),
    (Serving, "_merge", "merging it"),
    (Drawing, "step", "drawing"),
)


class Eyes:
    """The product's inspector, shown a selfie whatever it is to look at in a drawn picture."""

    def __init__(self, config: EngineConfig, photos: list[Path], person: np.ndarray | None) -> None:
        """Takes the first selfie in which nothing is wrong for a headshot."""
        self._inspector, standard = Inspector(config), Standard(person)
        flawless = (
            each for each in map(read_picture, photos) if not standard.flaws(self._inspector.inspect(each))
        )
        self._selfie = next(flawless, read_picture(photos[0]))

    def face(self, pixels: Pixels) -> FaceFound | None:
        """Of a selfie."""
        return self._inspector.face(pixels)

    def inspect(self, _pixels: Pixels) -> Inspection:
        """Of the one selfie."""
        return self._inspector.inspect(self._selfie)


class NoEyes:
    """Where nobody can look: it says at once that it sees the person."""

    def __init__(self, person: np.ndarray) -> None:
        thumbnail = np.zeros((THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)
        self._seen = Inspection(FaceFound(person, True, True, 1.0, 0.0, thumbnail), 0.0, 0.5)

    def face(self, _pixels: Pixels) -> FaceFound | None:
        """Nothing: copies are not looked for."""
        return None

    def inspect(self, _pixels: Pixels) -> Inspection:
        """Always the same."""
        return self._seen


@dataclass
class Figures:
    """What was measured. scale: by stage what its seconds are multiplied with, where it was cut short."""

    training: Stages = field(default_factory=Stages)
    shoots: dict[int, Stages] = field(default_factory=dict)  # by pictures drawn
    beside: dict[int, Stages] = field(default_factory=dict)  # the same shoots beside the GPU
    scale: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def trained(self) -> float:
        """Seconds from the last selfie to the adapter."""
        return sum(map(self.of_training, self.training.seconds))

    def of_training(self, name: str) -> float:
        """Seconds of a stage, of all the steps."""
        return self.training.seconds[name] * self.scale.get(name, 1.0)


class Journey:
    """One person's, on one engine."""

    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        begun = time.monotonic()
        self.options, self.work, self.figures = options, work, Figures()
        self.deadline = begun + options.most_seconds if options.most_seconds else float("inf")
        device = torch.device(options.device)
        self.device = device if device.type == "cpu" else torch.device("cuda", device.index or 0)
        on_cpu = self.device.type == "cpu"
        self.config = EngineConfig(
            device=options.device, cache_dir=str(work), compile="on" if on_cpu else "auto", fp8=options.fp8
        )
        if on_cpu:
            torch.set_num_threads(1)  # more would spin while OpenCV's work, and tiny needs no more
        keep_artifacts(work)
        torch.backends.cuda.enable_cudnn_sdp(False)  # as engine.models does, and why
        sizes = TINY if options.tiny else FLUX
        self.recipe = recipe(options, sizes.settings)
        base = random_flux(sizes, self.device, TIERS[0])
        made = time.monotonic()
        self.resources = Resources(base, self.config)
        self.acceleration = Acceleration(self.resources, self.recipe, self.config.compile)
        self.acceleration.start("eager" if on_cpu else "inductor")
        self.accelerator = Accelerator(cpu=on_cpu, mixed_precision="no")
        self.awake = threading.Event()
        self.say(
            f"Not counted: {made - begun:.0f} s for the weights, {time.monotonic() - made:.0f} to warm up."
        )

    def say(self, note: str) -> None:
        """A line of the page, at once."""
        self.figures.notes.append(note)
        print(note, flush=True)

    def selfies(self) -> tuple[list[Path], dict[str, dict[str, Any]]]:
        """Clean photos and their facts. The check of the last one is counted; the others were checked as they
        came."""
        photos = sorted(self.options.photos.glob("*.jpg"))
        if self.options.no_faces:
            self.say("No face was looked at: no check, no captions, no inspecting. Facts are from a file.")
            return photos, json.loads(self.options.facts.read_text())
        checker, facts, clean = PhotoChecker(self.config), dict[str, dict[str, Any]](), list[Path]()
        for photo in photos:
            clean.append(self.work / photo.name)
            request = CheckPhoto(photo.stem, photo.stem, str(photo), str(clean[-1]), dict(facts))
            with self.figures.training.stage(CHECK if photo is photos[-1] else "before"):
                facts[photo.stem] = checker.check(request).facts
        del self.figures.training.seconds["before"]
        self.options.facts.parent.mkdir(parents=True, exist_ok=True)
        self.options.facts.write_text(json.dumps(facts))
        return clean, facts

    def run(self) -> Figures:
        """From the last check to the headshots: of 8 drawn pictures, and of 4."""
        photos, facts = self.selfies()
        person = person_embedding(facts.values())
        assert person is not None
        eyes: Any = NoEyes(person) if self.options.no_faces else Eyes(self.config, photos, person)
        finish = self.finisher()
        self.train(photos, facts, eyes)
        for candidates in (2, 1):
            self.shoot(eyes, finish, candidates)
        if self.device.type == "cuda":
            self.say(f"Most memory: {torch.cuda.max_memory_allocated() / 2**30:.0f} GiB.")
        self.say(f"Compiled while somebody waited: {self.acceleration.recompiles} graphs.")
        return self.figures

    def train(self, photos: list[Path], facts: dict[str, dict[str, Any]], eyes: Any) -> None:
        """Ends early at the deadline; then its stages are scaled to all steps."""
        request = TrainAdapter(
            "t", "ada", "a", tuple(map(str, photos)), str(self.work), str(self.work / "a.safetensors"), facts
        )
        stages = self.figures.training = Stages(self.resources.wait)
        with mock.patch.object(curve, "PATIENCE", 10**9), stages.watching(*TRAINING_STAGES):
            work = TrainingWork(
                request, self.resources.base, self.resources.slot, self.recipe, self.accelerator, eyes,
                self.resources.recorder(self.resources.all), self.resources.drawing(self.resources.all),
            )  # fmt: skip
            reply = self.drive(work, lambda: self.cut(work))
        assert isinstance(reply, AdapterTrained), reply
        done, looks = reply.facts["steps_done"], len(reply.facts[CURVE])
        every = ValidationPlan.of(self.recipe, self.resources.base.settings).every
        planned = 1 + -(-self.recipe.steps // every)
        self.say(f"{done} of {self.recipe.steps} steps, {looks} of {planned} looks.")
        if done < self.recipe.steps:
            share = self.recipe.steps / done
            self.figures.scale = {STEPS: share, SAVING: share, LOOKS: planned / max(1, looks)}
            self.say("The training was cut short; steps, looks and saving are extrapolated to all of it.")

    def cut(self, work: TrainingWork) -> None:
        """Once the time is over, but not before there is a step to go by."""
        training = work.training
        if training is not None and training.step_index and time.monotonic() > self.deadline:
            training.stop_early()

    def shoot(self, eyes: Any, finish: Finish, candidates: int) -> None:
        """With so many candidates a headshot at most; the adapter comes from its file."""
        resources, stages, beside = self.resources, Stages(self.resources.wait), Stages()
        resources.forget("a")
        request = MakeHeadshots(
            "s", "ada", "a", str(self.work / "a.safetensors"), PROMPT, HEADSHOTS, 1,
            str(self.work / f"shoot-{candidates}"),
        )  # fmt: skip
        marked = beside.timed(finish, MARKING)
        watched = (shoot_work, "write_lossless", KEEPING), (type(eyes), "inspect", INSPECTING)
        with (
            ThreadPoolExecutor(max_workers=1) as thread,
            stages.watching(*SHOOT_STAGES, (self.awake, "wait", WAITING)),
            beside.watching(*watched),
        ):
            base, holder = resources.drawing(resources.all)
            jobs = Beside(thread, self.awake.set)
            work = ShootWork(request, base, holder, resources.shelf, eyes, marked, jobs, candidates)
            reply = self.drive(work, lambda: None)
        assert isinstance(reply, HeadshotsMade), reply
        del beside.seconds[REST]
        self.figures.shoots[reply.tried], self.figures.beside[reply.tried] = stages, beside
        print(f"{len(reply.pictures)} of {reply.tried} pictures", flush=True)

    def drive(self, work: Work, between: Callable[[], None]) -> Any:
        """As the engine does, with nobody else waiting."""
        said = time.monotonic()
        while True:
            self.resources.grant(self.resources.all)
            reply = work.quantum()
            self.resources.wait()
            if not isinstance(reply, Progress):
                work.close()
                return reply
            while work.waiting:
                self.awake.wait()
                self.awake.clear()
            between()
            if time.monotonic() - said > 10:
                said = time.monotonic()
                print(f"{reply.stage} {reply.step} of {reply.total_steps}", flush=True)

    def finisher(self) -> Finish:
        """What marks a headshot, loaded."""
        finish: Finish = write_picture
        try:
            version("likeness")  # the manifest names it
            from engine.marking import Marker

            finish = Marker(self.work / "keys").finish
        except (ImportError, PackageNotFoundError) as error:
            self.say(f"Headshots are not signed here: {error}.")
            if "onnxruntime" not in MISSING:
                finish = watermarked
        finish(self.work / "warm.jpg", np.zeros((256, 256, 3), np.uint8))
        return finish


def watermarked(path: Path, pixels: Pixels) -> None:
    """A headshot with a watermark alone."""
    write_picture(path, WATERMARK.embed(pixels))


def recipe(options: argparse.Namespace, settings: BaseSettings) -> Recipe:
    """The preset's for FLUX.1-dev, its resolutions in proportion to those of `settings`."""
    flux = BaseSettings()
    usual = recipe_for(options.preset, flux)
    sides = tuple(side * settings.resolution_px // flux.resolution_px for side in usual.resolutions_px)
    captions = usual.captions and not options.no_faces
    return replace(usual, steps=options.steps, resolutions_px=sides, captions=captions)


def page(figures: Figures, options: argparse.Namespace) -> str:
    """What is written down."""
    on_gpu = options.device.startswith("cuda")
    name = torch.cuda.get_device_name(torch.device(options.device)) if on_gpu else platform.machine()
    versions = ", ".join(f"{each} {version(each)}" for each in ("torch", "diffusers", "transformers"))
    return "\n".join(
        [
            "# From the fifteenth selfie to headshots",
            "",
            f"{datetime.datetime.now(datetime.UTC).date()}, commit {commit()}, {name}, Python"
            f" {platform.python_version()}, {versions}. Random weights"
            f"{', TINY: the figures mean nothing' if options.tiny else ''}. Preset {options.preset},"
            f" {options.steps} steps. Again: `python -m benchmarks.selfies_to_headshots`.",
            "",
            f"Goal: {HEADSHOTS} headshots in under {GOAL_SECONDS} s.",
            "",
            *_training_table(figures),
            "",
            *_shoot_table(figures),
            "",
            *(f"- {note}" for note in figures.notes),
            "",
        ]
    )


def _training_table(figures: Figures) -> list[str]:
    stages = figures.training
    return [
        "| training | s | times | ms each |",
        "|---|---|---|---|",
        *(
            f"| {name} | {figures.of_training(name):.2f} | {stages.calls[name]}"
            f" | {1000 * stages.seconds[name] / stages.calls[name]:.1f} |"
            for name in _rest_last(stages.seconds)
        ),
        f"| from the last selfie to the adapter | {figures.trained:.1f} | | |",
    ]


def _shoot_table(figures: Figures) -> list[str]:
    def row(name: str, seconds: Iterable[float]) -> str:
        return f"| {name} | {' | '.join(f'{each:.2f}' for each in seconds)} |"

    stages, beside = list(figures.shoots.values()), list(figures.beside.values())
    names = dict.fromkeys(name for each in stages for name in each.seconds)
    others = dict.fromkeys(name for each in beside for name in each.seconds)
    return [
        f"| {HEADSHOTS} headshots | {' | '.join(f'of {drawn} drawn, s' for drawn in figures.shoots)} |",
        f"|---|{'---|' * len(stages)}",
        *(row(name, (each.seconds[name] for each in stages)) for name in _rest_last(names)),
        row("the shoot", (each.total for each in stages)),
        row("from the last selfie to the headshots", (figures.trained + each.total for each in stages)),
        *(row(f"beside the GPU: {name}", (each.seconds[name] for each in beside)) for name in others),
    ]


def _rest_last(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: name == REST)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, default=ROOT / "bot" / "demo_selfies", help="their folder")
    parser.add_argument("--preset", choices=PRESETS, default="balanced")
    parser.add_argument("--steps", type=int, help="1000; of a tiny run 20")
    parser.add_argument("--fp8", choices=("auto", "on", "off"), default="auto", help="as [engine] fp8")
    parser.add_argument(
        "--most-seconds", type=float, default=430, help="from the start: then the training is cut; 0 = never"
    )
    parser.add_argument("--tiny", action="store_true", help="a small geometry, to see that it runs")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--no-faces", action="store_true", help="where what looks at faces is missing")
    parser.add_argument(
        "--facts", type=Path, default=ROOT / "data" / "selfies_to_headshots.json",
        help="the selfies' facts: written, or with --no-faces read",
    )  # fmt: skip
    parser.add_argument("--result", type=Path, help="the page; a tiny run has none unless it is named")
    options = parser.parse_args(arguments)
    options.steps = options.steps or (20 if options.tiny else 1000)
    return options


def main() -> None:
    """See the module."""
    options = parse()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        journey = Journey(options, Path(folder))
        try:
            journey.run()
        finally:  # what was measured until something failed is worth having
            text = page(journey.figures, options)
            print(f"\n{text}")
            result = options.result or (None if options.tiny else RESULT)
            if result is not None:
                result.write_text(text)


if __name__ == "__main__":
    main()
