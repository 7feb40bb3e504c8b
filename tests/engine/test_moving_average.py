"""The moving average of an adapter."""

import torch

from engine.moving_average import MovingAverage


def test_it_follows_by_its_equation() -> None:
    average = MovingAverage(torch.zeros(3), 0.9)
    expected = 0.0
    for step in range(1, 120):
        average.follow(torch.full((3,), float(step)), step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    torch.testing.assert_close(average.tensor, torch.full((3,), expected))


def test_it_begins_as_a_copy_that_is_nobody_elses() -> None:
    own = torch.ones(2)
    average = MovingAverage(own, 0.5)
    own += 5
    assert average.tensor.tolist() == [1.0, 1.0]
    average.follow(own, 1000)
    assert own.tolist() == [6.0, 6.0]
    assert average.tensor.tolist() == [3.5, 3.5]
