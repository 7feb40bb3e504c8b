"""The benchmark of the engine's speed runs as it stands, at a geometry that a CPU can bear."""

import time

import pytest
import torch

from benchmarks.flux_speed import (
    FORWARD_TFLOP,
    TINY,
    TRAINING_TFLOP,
    Bench,
    load_peft,
    make_adapter,
    make_base,
    make_text,
    make_transformer,
    once,
    page,
    plain,
    relative,
    run,
    with_peft,
)
from engine.lora import AdapterSlot


@pytest.fixture
def bench() -> Bench:
    return Bench(TINY, torch.device("cpu"), True, time.monotonic() + 60)


def test_switches_are_measured_and_exact(bench: Bench) -> None:
    run(bench, ["switch"], budget=60)
    for way in ("merged |", "merged, float8 |"):
        assert sum(way in row for row in bench.rows) == 3
    assert sum(note.endswith("bit for bit: True.") for note in bench.notes) == 2
    assert "failed" not in page(bench)


@torch.no_grad()
def test_their_adapter_is_our_adapter(bench: Bench) -> None:
    """Else the errors and ratios would compare different work."""
    transformer = make_transformer(bench)
    text, untouched = make_text(bench, transformer), plain(transformer)
    slot = AdapterSlot(transformer)
    one, base = make_adapter(bench, slot, 1, torch.float32), make_base(bench, transformer)
    for tensor in one.tensors.values():
        tensor *= 5  # what is visible in wide layers is not in narrow ones
    theirs = with_peft(bench, untouched)
    load_peft(theirs, one)
    bare = once(bench, base, text, 64)
    with slot.holding(one):
        ours = once(bench, base, text, 64)
    assert relative(once(bench, make_base(bench, theirs), text, 64), ours) < 0.02
    assert relative(bare, ours) > 0.1


def test_the_limits_are_those_of_the_geometry() -> None:
    width, blocks, text = 3072, 57, 512
    for side, tflop in FORWARD_TFLOP.items():
        tokens = (side // 16) ** 2 + text
        linears, attention = 24 * blocks * width**2 * tokens / 1e12, 4 * tokens**2 * width * blocks / 1e12
        assert linears + attention == pytest.approx(tflop, rel=0.005)
        if side in TRAINING_TFLOP:
            assert TRAINING_TFLOP[side] == pytest.approx(2 * linears + 3.5 * attention, rel=0.005)
