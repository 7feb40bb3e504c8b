"""Weights on the host arrive as they were sent, in whatever order they are asked for."""

import random

import pytest
import torch

from engine.host_blocks import Conveyor, Crate

CPU = torch.device("cpu")


def filled(count: int) -> tuple[Conveyor, list[Crate], list[list[torch.Tensor]]]:
    conveyor, crates, tensors = Conveyor(CPU), [], []
    for index in range(count):
        crate = conveyor.crate()
        own = [
            torch.full((3, 5 + index), float(index), dtype=torch.bfloat16),
            torch.full((7,), index, dtype=torch.uint8),
            torch.full((2, 2), index + 0.5).to(torch.float8_e4m3fn),
        ]
        assert (crate.add(own[:2]), crate.add(own[2:])) == (0, 1)
        crate.close()
        crates.append(crate)
        tensors.append(own)
    return conveyor, crates, tensors


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_forwards_backwards_and_at_random(count: int) -> None:
    _, crates, tensors = filled(count)
    there = list(range(count))
    random_order = [random.Random(count).randrange(count) for _ in range(50)]
    for index in [*there, *reversed(there), *there, *there, *random_order]:
        got = [*crates[index].get(0), *crates[index].get(1)]
        for found, sent in zip(got, tensors[index], strict=True):
            assert (found.dtype, found.shape) == (sent.dtype, sent.shape)
            assert torch.equal(found.float(), sent.float())


def test_two_buffers_are_all_it_takes_and_the_next_one_is_there_before_it_is_asked_for() -> None:
    conveyor, crates, _ = filled(6)
    loads: list[int] = []
    load = conveyor._load

    def note(index: int, side: int) -> None:
        loads.append(index)
        load(index, side)

    conveyor._load = note  # type: ignore[method-assign]
    for index in [0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0]:
        already = list(loads)
        crates[index].get(0)
        crates[index].get(1)
        assert index == 0 or index in already, "it had to be waited for"
    assert len(conveyor._buffers) == 2
    assert {buffer.numel() for buffer in conveyor._buffers} == {max(crate.num_bytes for crate in crates)}


def test_a_crate_that_did_not_arrive_is_not_taken_for_being_there() -> None:
    _, crates, tensors = filled(4)
    crates[0].get(0)
    whole, crates[2].content = crates[2].content, torch.zeros(1, dtype=torch.uint8).expand(3, 3)
    with pytest.raises(RuntimeError):
        crates[1].get(0)  # brings the one after it, too
    crates[2].content = whole
    for index in (2, 1, 0):
        assert torch.equal(crates[index].get(0)[0], tensors[index][0])
