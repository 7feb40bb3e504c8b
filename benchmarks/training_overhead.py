"""What our training costs beside the field's plain loop: seconds a step, in one process, in turn.

    python -m benchmarks.training_overhead

Plain: diffusers' transformer, peft's branches by `add_adapter`, one tensor of latents and noise, mean squared
error, clipping, AdamW; nothing is drawn, weighed, averaged or saved. Ours: `Training.step` with everything
that a preset switches on (drawing of photos, captions and noise, face mask, moving average), and its share of
the checkpoints. The same transformer, batch, rank, targets and number of threads. Looks at the adapter
(validation) are not part of it. Writes benchmarks/results/training_overhead.md. The goal is 1.10 at most.
"""

import argparse
import datetime
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import FluxTransformer2DModel
from peft import LoraConfig

from engine import flow
from engine.config import EngineConfig
from engine.crops import Framing
from engine.dataset import Dataset, Photo, View
from engine.lora import TARGETS, AdapterInfo, AdapterSlot
from engine.models import VAE_FACTOR, Base, TextCondition, load_base
from engine.presets import Recipe, recipe_for
from engine.trainer import Training

GOAL = 1.10
RESULT = Path(__file__).parent / "results" / "training_overhead.md"
PHOTOS = 12
CAPTIONS = ("smiling", "grey background", "wearing a navy jacket", "outdoor background, soft light")


def random_dataset(base: Base, recipe: Recipe) -> Dataset:
    """Photos of noise, of the size that the recipe trains at, with masks and captions."""
    generator = torch.Generator().manual_seed(1)
    side = min(recipe.resolutions_px) // VAE_FACTOR
    tokens = side * side // 4
    texts = {f"photo of {base.settings.subject}, {words}": None for words in ("", *CAPTIONS)}
    encoded = {text: base.encode_text(text) for text in texts}
    names = list(encoded)
    photos = {
        f"photo-{index}": Photo(
            (
                View(
                    torch.randn(tokens, base.transformer.config.in_channels, generator=generator),
                    side, side, torch.rand(tokens, 4, generator=generator) + 0.5,
                    Framing.HEAD_AND_SHOULDERS, 1.0, bytes([index]), names[1 + index % len(CAPTIONS)],
                ),
            )
        )
        for index in range(PHOTOS)
    }  # fmt: skip
    weights = {key: 0.7 + 0.05 * index for index, key in enumerate(photos)}
    return Dataset(photos, encoded, weights, plain=names[0])


class PlainLoop:
    """A step as the field's training scripts have it."""

    def __init__(self, base: Base, recipe: Recipe, dataset: Dataset) -> None:
        self.base, self.recipe = base, recipe
        self.transformer = FluxTransformer2DModel.from_pretrained(
            base.folder.path / "transformer", torch_dtype=base.dtype
        ).to(base.device)
        self.transformer.requires_grad_(False)
        self.transformer.add_adapter(
            LoraConfig(r=recipe.rank, lora_alpha=recipe.rank, target_modules=TARGETS)
        )
        self.parameters = [p for p in self.transformer.parameters() if p.requires_grad]
        for parameter in self.parameters:
            parameter.data = parameter.data.float()
        self.optimizer = torch.optim.AdamW(self.parameters, lr=recipe.learning_rate)
        views = [photo.views[0] for photo in dataset.photos.values()][: recipe.batch_size]
        self.latents = torch.stack([view.latents for view in views]).to(base.device)
        self.texts: list[TextCondition] = [dataset.texts[view.caption] for view in views]
        self.side = views[0].rows

    def step(self) -> float:
        noise, batch, base = torch.randn_like(self.latents), len(self.latents), self.base
        sigmas = torch.sigmoid(torch.randn(batch, device=base.device))
        share = sigmas.view(-1, 1, 1)
        predicted = self.transformer(
            hidden_states=((1 - share) * self.latents + share * noise).to(base.dtype),
            timestep=sigmas,
            guidance=torch.ones(batch, device=base.device),
            pooled_projections=torch.stack([text.pooled for text in self.texts]),
            encoder_hidden_states=torch.stack([text.tokens for text in self.texts]),
            txt_ids=flow.text_ids(base.text_tokens).to(base.device, base.dtype),
            img_ids=flow.image_ids(self.side, self.side).to(base.device, base.dtype),
            return_dict=False,
        )[0]
        loss = ((predicted.float() - (noise - self.latents)) ** 2).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.recipe.max_gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())


def seconds(work: Callable[[], object], device: torch.device) -> float:
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def measure(
    base: Base, recipe: Recipe, work_dir: Path, rounds: int
) -> tuple[list[float], list[float], float]:
    """Seconds of each plain step, of each of our steps, and of a checkpoint."""
    dataset = random_dataset(base, recipe)
    slot = AdapterSlot(base.transformer, base.adapted_too)
    info = AdapterInfo("overhead", "nobody", base.folder.revision, recipe.rank)
    accelerator = Accelerator(cpu=base.device.type == "cpu", mixed_precision="no")
    ours = Training(base, slot, dataset, recipe, info, work_dir, 1, accelerator)
    plain = PlainLoop(base, recipe, dataset)
    for _ in range(3):
        plain.step(), ours.step()
    theirs_all, ours_all = [], []
    for index in range(rounds):  # who goes first changes, so that neither always finds the other's cache
        both = [("plain", plain.step), ("ours", ours.step)]
        for name, step in both if index % 2 else both[::-1]:
            (theirs_all if name == "plain" else ours_all).append(seconds(step, base.device))
    saved = statistics.median(seconds(ours.save, base.device) for _ in range(5))
    return theirs_all, ours_all, saved


def report(base: Base, recipe: Recipe, measured: tuple[list[float], list[float], float]) -> str:
    theirs, ours, saved = measured
    saving = 1 + saved / recipe.save_seconds
    ratio = statistics.median(b / a for a, b in zip(theirs, ours, strict=True)) * saving
    quartiles = statistics.quantiles([b / a * saving for a, b in zip(theirs, ours, strict=True)], n=4)
    return "\n".join(
        [
            "# What a training costs beside the field's plain loop",
            "",
            f"{datetime.datetime.now(datetime.UTC).date()}, base of {base.settings.resolution_px} px on"
            f" {base.device}, {torch.get_num_threads()} thread(s), batch {recipe.batch_size}, rank"
            f" {recipe.rank}, {len(ours)} pairs of steps in turn, torch {torch.__version__}.",
            "",
            "| | seconds a step, median |",
            "|---|---|",
            f"| plain loop | {statistics.median(theirs):.3f} |",
            f"| ours | {statistics.median(ours):.3f} |",
            f"| a checkpoint, every {recipe.save_seconds:.0f} s | {saved:.3f} |",
            "",
            f"Ratio with checkpoints: **{ratio:.3f}** (quartiles {quartiles[0]:.3f} to {quartiles[2]:.3f};"
            f" goal {GOAL:.2f} at most).",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="demo")
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        base = load_base(EngineConfig(base=options.base, device=options.device, cache_dir=folder))
        recipe = recipe_for(options.preset, base.settings)
        text = report(base, recipe, measure(base, recipe, Path(folder), options.rounds))
    RESULT.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
