"""The one place where a preset becomes hyper-parameters; a base's own measured settings win over it.

Each choice names where its evidence comes from: the field's trainers as they stood in August 2026, or this
project's own benchmark (benchmarks/likeness.py). Whatever can be switched is a number or a flag of `Recipe`,
so that a benchmark switches it with `dataclasses.replace`.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

from engine.base_folder import BaseSettings, LoraSettings
from engine.crops import Framing

# Under this side a base draws one kind of picture, the square portrait that it was made from.
MANY_FRAMINGS_PX = 512
_Value = TypeVar("_Value", float, int, bool)
ALL_FRAMINGS = (Framing.HEAD_AND_SHOULDERS, Framing.CLOSE_UP, Framing.AS_GIVEN)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training. Adapters have one uniform rank and alpha = rank.

    resolutions_px: sides of the squares that have as many pixels as a training picture; the smallest one is
        always used. framings: see `engine.crops`; one that a photo cannot fill is left out.
    max_aspect: the longer over the shorter side of a training picture; 1.0 = squares only.
    guidance: the embedded guidance in training.
    captions: whether each photo is described; without, every photo has the base's plain caption.
    caption_dropout: chance that a step sees the plain caption instead.
    mask_floor: weight of what is not the face in the loss, 0 to 1; 1.0 = no mask.
    weigh_photos: whether better and rarer photos are seen more often.
    ema_decay: of the moving average of the adapter that is measured and saved; 0 = the adapter itself.
    face_prior: whether an adapter starts from the person's face where the base can read one.
    prior_share: chance that a step sees a picture of anybody, made by the base itself, instead of the person.
    prior_count: how many such pictures there are.
    save_seconds: the most work that a crash can cost.
    """

    rank: int
    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    resolutions_px: tuple[int, ...]
    framings: tuple[Framing, ...] = (Framing.HEAD_AND_SHOULDERS,)
    max_aspect: float = 1.0
    weight_decay: float = 1e-4
    max_gradient_norm: float = 1.0
    guidance: float = 1.0
    captions: bool = True
    caption_dropout: float = 0.0
    mask_floor: float = 1.0
    weigh_photos: bool = True
    ema_decay: float = 0.0
    face_prior: bool = True
    prior_share: float = 0.0
    prior_count: int = 8
    save_seconds: float = 20.0


@dataclass(frozen=True)
class _Preset:
    """steps: on a base that has not measured its own; step_share: of those that it has."""

    rank: int
    steps: int
    step_share: float
    learning_rate: float
    resolutions_px: tuple[int, ...]


# Steps: likeness peaks at 250 to 1750 of batch 1 in published runs (kohya_ss #2701, mikihands, azamatsab), so
# the last checkpoint is not trusted: held-out selfies choose it. Rank 16 = alpha: ai-toolkit, replicate, fal;
# more rank was no gain (fal #1024). Rate 1e-4: diffusers, ai-toolkit, kohya; 4e-4 with many steps distorts
# faces (ai-toolkit #82). Resolutions: ai-toolkit and replicate mix 512, 768 and 1024; a step at 1024 costs
# four at 512, so a quick training does without.
_PRESETS = {
    "fast": _Preset(16, 500, 0.6, 2e-4, (512,)),
    "balanced": _Preset(16, 1000, 1.0, 1e-4, (512, 768)),
    "best": _Preset(32, 1500, 1.6, 1e-4, (512, 768, 1024)),
}


def recipe_for(preset: str, base: BaseSettings) -> Recipe:
    """The hyper-parameters of a preset on a base. Raises KeyError for an unknown preset."""
    chosen, own = _PRESETS[preset], base.lora
    steps = max(1, round(own.steps * chosen.step_share)) if own.steps else chosen.steps
    large = base.resolution_px >= MANY_FRAMINGS_PX
    return Recipe(
        rank=own.rank or chosen.rank,
        steps=steps,
        batch_size=own.batch_size or 1,
        learning_rate=own.learning_rate or chosen.learning_rate,
        # Short beside AdamW's own bias correction: 50 steps of 1000, as ai-toolkit's and diffusers' users do.
        warmup_steps=min(_own(own.warmup_steps, 50), steps // 4),
        resolutions_px=chosen.resolutions_px if large else (base.resolution_px,),
        framings=ALL_FRAMINGS if large else (Framing.HEAD_AND_SHOULDERS,),
        max_aspect=2.0 if large else 1.0,
        # FLUX.1-dev is distilled with guidance; ai-toolkit, SimpleTuner, replicate, OneTrainer and kohya's
        # documentation all train it at 1.0.
        guidance=1.0,
        **_switches(own, steps),
        # A checkpoint of the large base is over a gigabyte: once a minute it costs a few percent at most.
        save_seconds=60.0 if large else 20.0,
    )


def _switches(own: LoraSettings, steps: int) -> dict[str, Any]:
    return {
        # What varies is said and the face is not: then it is the trigger that carries the face.
        "captions": _own(own.captions, True),
        # ai-toolkit and replicate drop .05 to the empty caption, for guidance without a classifier, which
        # FLUX.1-dev does not use; empty would also teach everybody's face the person's (ai-toolkit #166), so
        # here the trigger stays. More often than theirs because our captions say more.
        "caption_dropout": _own(own.caption_dropout, 0.1),
        # .1 in ai-toolkit and OneTrainer for masks drawn by hand; ours is an ellipse that hair and ears
        # reach out of.
        "mask_floor": _own(own.mask_floor, 0.3),
        # ai-toolkit and replicate save a moving average of .99; it lags by 100 steps, too many for a short
        # training: never more than a tenth of the steps.
        "ema_decay": _own(own.ema_decay, round(min(0.99, 1 - 10 / max(steps, 11)), 4)),
        # Off: no gain on FLUX in the two published comparisons (civitai 7519, SECourses), and each share of
        # it is taken from the person.
        "prior_share": _own(own.prior_share, 0.0),
    }


def _own(measured: _Value | None, derived: _Value) -> _Value:
    return derived if measured is None else measured
