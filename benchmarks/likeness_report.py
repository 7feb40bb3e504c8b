"""The tables of the likeness benchmark, from its outcomes."""

from collections.abc import Iterable
from typing import Any

import numpy as np

AIM = 0.40
DEFAULT = "default"
# Beginnings of `Outcome.shots`' keys: the checkpoint, and how four of the pictures that were drawn are taken.
DELIVERED, FIRST = "chosen, best", "chosen, first"
LAST_DELIVERED, LAST_FIRST = "last, best", "last, first"
STRANGERS_QUANTILE = 0.99


def report(
    outcomes: list[Any], strangers: list[float], about: str, same: Iterable[tuple[str, str]] = ()
) -> str:
    """Markdown: what each default is worth where several variants ran, likeness by person, the switches, and
    how evenly it falls. same: preset and variant that are the default's recipe again on this base."""
    kinds = list(outcomes[0].shots) if outcomes else []
    lines = [
        "# Likeness",
        "",
        f"{about} SFace cosines to photos that neither the training nor the choice of its best state saw;"
        f" a picture without a face counts as 0. Aim: {AIM:.2f}. Again: see `benchmarks/likeness.py`.",
        "",
        _strangers(strangers),
        "",
        *_worths(outcomes, list(same)),
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


def _worths(outcomes: list[Any], same: list[tuple[str, str]]) -> list[str]:
    """A table a preset; nothing where the default alone was asked for."""
    presets = list(dict.fromkeys(o.preset for o in outcomes))
    if not same and len({o.variant for o in outcomes}) < 2:
        return []
    lines = [
        "## What each default is worth",
        "",
        "Worth: the default's delivered pictures less the variant's, mean over the people who have both, with"
        " its standard error.",
        "",
    ]
    for preset in presets:
        lines += [
            f"| {preset} | delivered | miss {AIM:.2f} | first 4 | of these miss | worth | people |",
            "|---|---|---|---|---|---|---|",
            *_worth_rows([outcome for outcome in outcomes if outcome.preset == preset]),
            "",
        ]
        idle = [variant for each, variant in same if each == preset]
        if idle:
            lines += [f"The default's recipe again on this base, so not trained: {', '.join(idle)}.", ""]
    return lines


def _worth_rows(outcomes: list[Any]) -> list[str]:
    variants = dict.fromkeys(o.variant for o in outcomes if o.variant != DEFAULT)
    default = [o for o in outcomes if o.variant == DEFAULT]
    rows = [_worth_row(DEFAULT, default, [], DELIVERED, FIRST)]
    for variant in variants:
        members = [o for o in outcomes if o.variant == variant]
        rows.append(_worth_row(variant, members, default, DELIVERED, FIRST))
    rows.append(_worth_row("no ranking (first 4)", default, default, FIRST, ""))
    last = "no choice of checkpoint (last, best 4)"
    return [*rows, _worth_row(last, default, default, LAST_DELIVERED, LAST_FIRST)]


def _worth_row(label: str, members: list[Any], default: list[Any], delivered: str, first: str) -> str:
    cells = [*_mean_and_misses(members, delivered), *_mean_and_misses(members, first)]
    usual = {o.person: _mean(_shots(o, DELIVERED)) for o in default}
    gains = [usual[o.person] - _mean(_shots(o, delivered)) for o in members if o.person in usual]
    worth = f"{_mean(gains):.3f}" if gains else ""
    if len(gains) > 1:
        worth += f" ± {np.std(gains, ddof=1) / np.sqrt(len(gains)):.3f}"
    return f"| {label} | {' | '.join(cells)} | {worth} | {len(members)} |"


def _mean_and_misses(members: list[Any], kind: str) -> tuple[str, str]:
    values = [value for outcome in members for value in _shots(outcome, kind)]
    return (f"{_mean(values):.3f}", f"{misses(values):.1%}") if values else ("", "")


def _shots(outcome: Any, kind: str) -> list[float | None]:
    """Of the first key that begins so."""
    return next((shots for key, shots in outcome.shots.items() if kind and key.startswith(kind)), [])


def _mean(values: Iterable[float | None]) -> float:
    """A picture without a face counts as 0."""
    return float(np.mean([value or 0.0 for value in values] or [0.0]))


def _strangers(cosines: list[float]) -> str:
    if not cosines:
        return "Strangers: one person alone has none."
    high = np.quantile(cosines, STRANGERS_QUANTILE)
    return f"Strangers: median {np.median(cosines):.2f}, 99 of 100 under {high:.2f} ({len(cosines)} pairs)."


def _row(outcome: Any, kinds: list[str]) -> str:
    base = outcome.points[0]["likeness"] if outcome.points else float("nan")
    means = (f"{_mean(outcome.shots[kind]):.2f}" for kind in kinds)
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
