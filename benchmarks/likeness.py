"""How much delivered headshots look like their person, and which default earns its place.

    python -m benchmarks.likeness --people FOLDER --presets fast balanced --variants default no-mask

FOLDER holds a folder of photos for each person; without it, the person in bot/demo_selfies. A quarter of the
photos is kept from the product and judges it. Of each training, with all its checkpoints: the start (the
base, and the face that an adapter starts from where the base has a prior), each checkpoint, the chosen one,
and headshots in several styles, with and without the choice of the checkpoint and of the pictures. Every
finished training is a file in --out: a run that was cut short goes on, and several processes may share the
work, each with a folder of its own; the delivered pictures lie there too, for `benchmarks.second_judge`. One
page of all of it, with nothing trained:

    python -m benchmarks.likeness --people FOLDER --variants default no-mask --report-only --out A B

Writes benchmarks/results/likeness.md, or likeness_ablations.md beside it where there are several variants.
Short run: --most-people 2 --steps 20 --styles linkedin
"""

import argparse
import datetime
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from accelerate import Accelerator
from PIL import Image

from benchmarks.evaluation_people import EvaluationPerson, load_people
from benchmarks.likeness_report import DEFAULT, report
from bot.styles import Catalogue, StyleRequest
from engine import curve
from engine.base_folder import BaseSettings
from engine.candidates import candidates
from engine.config import EngineConfig
from engine.faces import similarity
from engine.generator import Drawing, Frame
from engine.inspection import Inspection, Inspector
from engine.likeness import person_embedding
from engine.lora import Adapter
from engine.messages import AdapterTrained, Progress, TrainAdapter
from engine.models import Base, load_base
from engine.pictures import Pixels
from engine.presets import Recipe, recipe_for
from engine.ranking import Standard, choose
from engine.resources import Resources
from engine.training_work import CURVE, TrainingWork

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DELIVERED = 4
PICTURES = "delivered"  # in a training's folder
FLOAT8 = "float8"  # the same recipe, computed by `engine.float8`
VARIANTS: dict[str, Callable[[Recipe], Recipe]] = {
    DEFAULT: lambda recipe: recipe,
    "no-mask": lambda recipe: switched(recipe, mask_floor=1.0),
    "no-crops": lambda recipe: switched(recipe, framings=recipe.framings[:1], max_aspect=1.0),
    "no-captions": lambda recipe: switched(recipe, captions=False),
    "no-weights": lambda recipe: switched(recipe, weigh_photos=False),
    "no-average": lambda recipe: switched(recipe, ema_decay=0.0),
    "no-face-prior": lambda recipe: switched(recipe, face_prior=False),
    FLOAT8: lambda recipe: recipe,
}


@dataclass
class Outcome:
    """One training and what came of it; cosines are means over a person's exam photos.

    shots: by (checkpoint, ranking), each picture's cosine; None where it shows no face.
    """

    person: str
    tone: str
    preset: str
    variant: str
    seconds: float = 0.0
    real_to_real: float = 0.0
    chosen_step: int = 0
    band: str = ""
    points: list[dict[str, Any]] = field(default_factory=list)
    shots: dict[str, list[float | None]] = field(default_factory=dict)


def switched(recipe: Recipe, **changes: Any) -> Recipe:
    """The recipe with a default off. Raises TypeError where this release has no such switch."""
    return replace(recipe, **changes)


class Studio:
    """The loaded base, and everything that a training and a shoot need."""

    def __init__(self, config: EngineConfig, styles: list[str], drawn: int) -> None:
        self.base: Base = load_base(config)
        self._resources = Resources(self.base, config)
        self._inspector = Inspector(config)
        self._accelerator = Accelerator(cpu=self.base.device.type == "cpu", mixed_precision="no")
        catalogue = Catalogue.load()
        self._prompts = [catalogue.prompt(StyleRequest(style=style)) for style in styles]
        self._drawn = drawn

    def measure(self, person: EvaluationPerson, outcome: Outcome, recipe: Recipe, work: Path) -> None:
        """Train to the last step, then draw with the chosen and with the last checkpoint."""
        begun = time.monotonic()
        request = TrainAdapter(
            "t", person.name, person.name, person.photos, str(work), str(work / "a.safetensors"), person.facts
        )
        training = TrainingWork(
            request, self.base, self._resources.slot, recipe, self._accelerator, self._inspector
        )
        with mock.patch.object(curve, "PATIENCE", 10**9):  # every checkpoint is wanted
            reply = training.quantum()
            while isinstance(reply, Progress):
                reply = training.quantum()
        state = training.training
        assert state is not None and isinstance(reply, AdapterTrained)
        outcome.seconds = round(time.monotonic() - begun, 1)
        outcome.real_to_real = reply.facts["real_to_real"]
        outcome.chosen_step, outcome.band, outcome.points = reply.steps, reply.likeness, reply.facts[CURVE]
        chosen = state.best.adapter if state.best else state.adapter
        chosen = Adapter(chosen.info, {k: v.to(self.base.device) for k, v in chosen.tensors.items()})
        for name, adapter in (("chosen", chosen), ("last", state.adapter)):
            first, best = self._shoot(person, adapter, work / PICTURES if name == "chosen" else None)
            outcome.shots[f"{name}, first {DELIVERED}"] = first
            outcome.shots[f"{name}, best {DELIVERED} of {self._drawn}"] = best

    def _shoot(
        self, person: EvaluationPerson, adapter: Adapter, folder: Path | None
    ) -> tuple[list[float | None], list[float | None]]:
        """Cosines of the first pictures drawn, and of those that the product would deliver; these are kept in
        the folder."""
        first: list[float | None] = []
        best: list[float | None] = []
        standard = Standard(person_embedding(person.facts.values()))
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was cut short
            folder.mkdir()
        for style, prompt in enumerate(self._prompts):
            seen, pictures = self._draw(prompt, adapter)
            delivered = choose(seen, DELIVERED, standard).chosen
            first += [_exam(seen[index], person) for index in range(min(DELIVERED, len(seen)))]
            best += [_exam(seen[index], person) for index in delivered]
            if folder is not None:
                for index in delivered:
                    Image.fromarray(pictures[index]).save(folder / f"{style}-{index}.png")
        return first, best

    def _draw(self, prompt: str, adapter: Adapter) -> tuple[dict[int, Inspection], dict[int, Pixels]]:
        settings, seen = self.base.settings, dict[int, Inspection]()
        pictures = dict[int, Pixels]()

        def take(index: int, pixels: Pixels) -> None:
            seen[index], pictures[index] = self._inspector.inspect(pixels), pixels

        side = settings.picture_px
        frame = Frame(side, side, settings.num_inference_steps, settings.guidance)
        shots = candidates(prompt.replace("{subject}", settings.subject), 1, self._drawn)
        drawing = Drawing(*self._resources.drawing(self._resources.all), adapter, frame, shots, take)
        while not drawing.finished:
            drawing.step()
        return seen, pictures


def _exam(seen: Inspection, person: EvaluationPerson) -> float | None:
    if seen.face is None:
        return None
    return round(float(np.mean([similarity(seen.face.identity, photo) for photo in person.exam])), 4)


def strangers(people: list[EvaluationPerson]) -> list[float]:
    """Cosines of exam photos of different people."""
    return [
        similarity(a, b)
        for index, one in enumerate(people)
        for other in people[:index]
        for a in one.exam
        for b in other.exam
    ]


def recipes(
    options: argparse.Namespace, settings: BaseSettings
) -> tuple[dict[tuple[str, str], Recipe], list[tuple[str, str]]]:
    """By preset and variant what is trained, and what is the default's recipe again on this base."""
    plan, same = {}, []
    for preset in options.presets:
        recipe = recipe_for(preset, settings)
        recipe = replace(recipe, steps=options.steps or recipe.steps)
        for variant in options.variants:
            changed = VARIANTS[variant](recipe)
            if variant not in (DEFAULT, FLOAT8) and changed == recipe:
                same.append((preset, variant))
            else:
                plan[preset, variant] = changed
    return plan, same


def run(options: argparse.Namespace) -> str:
    """All trainings that are wanted; those that were done before are read from their files. Returns the
    page."""
    config = EngineConfig(base=options.base, device=options.device, threads=options.threads)
    people = load_people(options.people, options.out[0] / "photos", options.names, options.most_people)
    studio = Studio(config, options.styles, options.drawn)
    wants8 = FLOAT8 in options.variants and not options.report_only
    in_float8 = Studio(replace(config, fp8="on"), options.styles, options.drawn) if wants8 else studio
    plan, same = recipes(options, studio.base.settings)
    outcomes = []
    for person, ((preset, variant), recipe) in product(people, plan.items()):
        name = f"{person.name}-{preset}-{variant}-{studio.base.folder.revision}-{recipe.steps}"
        path = find(f"{name}.json", options.out)
        if not path.is_file():
            if options.report_only:
                continue
            outcome, work = Outcome(person.name, person.tone, preset, variant), options.out[0] / name
            work.mkdir(parents=True, exist_ok=True)
            (in_float8 if variant == FLOAT8 else studio).measure(person, outcome, recipe, work)
            path.write_text(json.dumps(asdict(outcome)))
        outcomes.append(Outcome(**json.loads(path.read_text())))
        print(name, outcomes[-1].band, outcomes[-1].seconds, flush=True)
    about = (
        f"{datetime.datetime.now(datetime.UTC).date()}, base {options.base}, {studio.base.device},"
        f" {len({outcome.person for outcome in outcomes})} people, styles {', '.join(options.styles)}."
    )
    return report(outcomes, strangers(people), about, same)


def find(name: str, folders: list[Path]) -> Path:
    """Where that file is, else its place in the first folder."""
    return next((folder / name for folder in folders if (folder / name).is_file()), folders[0] / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=Path, default=ROOT / "bot" / "demo_selfies")
    parser.add_argument("--names", nargs="*", default=[], help="folders of people; all where none is named")
    parser.add_argument("--most-people", type=int, default=1000)
    parser.add_argument("--presets", nargs="+", default=["balanced"])
    parser.add_argument("--variants", nargs="+", default=[DEFAULT], choices=sorted(VARIANTS))
    parser.add_argument("--styles", nargs="+", default=["linkedin", "outdoor", "bw"])
    parser.add_argument("--drawn", type=int, default=8, help="pictures drawn for the four delivered")
    parser.add_argument("--steps", type=int, default=0, help="0 = the preset's")
    parser.add_argument("--base", default="demo")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, nargs="+", default=[ROOT / "data" / "likeness-benchmark"],
        help="where finished trainings are looked for; new ones go into the first",
    )  # fmt: skip
    parser.add_argument("--report-only", action="store_true", help="train nothing: the page of what is there")
    parser.add_argument("--result", type=Path, help="the page")
    options = parser.parse_args()
    page = run(options)
    several = len(options.variants) > 1
    (options.result or RESULTS / f"likeness{'_ablations' if several else ''}.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
