"""The tables of the likeness benchmark, from its outcomes."""

from collections.abc import Iterable
from typing import Any

import numpy as np

AIM = 0.40
STRANGERS_QUANTILE = 0.99


def report(outcomes: list[Any], strangers: list[float], about: str) -> str:
    """Markdown: likeness by person, the switches, and how evenly it falls."""
    kinds = list(outcomes[0].shots) if outcomes else []
    lines = [
        "# Likeness",
        "",
        f"{about} SFace cosines to photos that neither the training nor the choice of its best state saw;"
        f" a picture without a face counts as 0. Aim: {AIM:.2f}. Again: see `benchmarks/likeness.py`.",
        "",
        _strangers(strangers),
        "",
        "## By person",
        "",
        f"| person | preset | variant | real to real | start | {' | '.join(kinds)} | chosen step | band |",
        f"|---|---|---|---|---|{'---|' * len(kinds)}---|---|",
        *(_row(outcome, kinds) for outcome in outcomes),
        "",
        "## Checkpoints (cosine to held-out selfies at each look; * = chosen)",
        "",
        *(f"- {o.person}, {o.preset}, {o.variant}: {_points(o)}" for o in outcomes),
        "",
        "## Switches: share of delivered pictures that miss the aim, over all people",
        "",
        f"| preset | variant | {' | '.join(kinds)} |",
        f"|---|---|{'---|' * len(kinds)}",
        *_groups(outcomes, kinds, lambda o: (o.preset, o.variant)),
        "",
        "## Spread: the same by skin tone (measured in the photos, individual typology angle)",
        "",
        f"| tone | people | {' | '.join(kinds)} |",
        f"|---|---|{'---|' * len(kinds)}",
        *_groups(outcomes, kinds, lambda o: (o.tone, "")),
        "",
    ]
    return "\n".join(lines)


def misses(values: Iterable[float | None]) -> float:
    """Share of pictures under the aim."""
    found = [value or 0.0 for value in values]
    return sum(value < AIM for value in found) / max(1, len(found))


def _strangers(cosines: list[float]) -> str:
    if not cosines:
        return "Strangers: one person alone has none."
    high = np.quantile(cosines, STRANGERS_QUANTILE)
    return f"Strangers: median {np.median(cosines):.2f}, 99 of 100 under {high:.2f} ({len(cosines)} pairs)."


def _row(outcome: Any, kinds: list[str]) -> str:
    base = outcome.points[0]["likeness"] if outcome.points else float("nan")
    means = (f"{np.mean([value or 0.0 for value in outcome.shots[kind]] or [0.0]):.2f}" for kind in kinds)
    last = outcome.points[-1]["step"] if outcome.points else 0
    what = f"{outcome.person} | {outcome.preset} | {outcome.variant}"
    levels = " | ".join([f"{outcome.real_to_real:.2f}", f"{base:.2f}", *means])
    return f"| {what} | {levels} | {outcome.chosen_step} of {last} | {outcome.band or '-'} |"


def _points(outcome: Any) -> str:
    marks = (
        f"{point['step']}: {point['likeness']:.2f}{'*' if point['step'] == outcome.chosen_step else ''}"
        f"{' copies' if point['copies'] else ''}"
        for point in outcome.points
    )
    return ", ".join(marks)


def _groups(outcomes: list[Any], kinds: list[str], group: Any) -> list[str]:
    lines = []
    for key in sorted({group(outcome) for outcome in outcomes}):
        members = [outcome for outcome in outcomes if group(outcome) == key]
        names = len({outcome.person for outcome in members})
        shares = (f"{misses(v for o in members for v in o.shots[kind]):.0%}" for kind in kinds)
        first, second = key if key[1] else (key[0], str(names))
        lines.append(f"| {first} | {second} | {' | '.join(shares)} |")
    return lines
