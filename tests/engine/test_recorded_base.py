"""Recorded predictions are the launched ones, whoever is merged and wherever the weights lie."""

import numpy as np

from engine.lora import AdapterSlot
from engine.merging import Serving
from tests.engine.again import Again
from tests.engine.test_lora import adapter
from tests.engine.test_merging import pictures


def test_recorded_pictures_are_the_launched_ones_whoever_comes_next(base, slot: AdapterSlot) -> None:
    people = [adapter(base, slot, seed, person=f"p{seed}") for seed in (1, 2)]
    launched, recorder = Serving(base, slot), Again()
    recorded = Serving(base, slot, recorder=recorder)
    for person in (*people, *people):
        wanted, made = (pictures(serving.base, serving, person) for serving in (launched, recorded))
        assert all(np.array_equal(one, other) for one, other in zip(wanted, made, strict=True))
    assert recorder.recorded == 1
    # 4 steps of one batch for each: all but the very first were replayed.
    assert recorder.replayed == 4 * 4 - 1


def test_where_addresses_changed_nothing_old_is_replayed(base, slot: AdapterSlot) -> None:
    one, recorder = adapter(base, slot, 1), Again()
    serving = Serving(base, slot, recorder=recorder)
    before = pictures(serving.base, serving, one)
    serving.release()
    after = pictures(serving.base, serving, one)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert recorder.recorded == 2
