"""The policies that ours is compared with do what their names say, and every policy does the same work."""

import pytest

from benchmarks.day import COSTS, POLICIES, FirstComeFirstServed, TwoQueues, jobs_of
from engine.scheduler import Kind
from tests.engine.one_gpu import Job, simulate


def two() -> list[Job]:
    return [
        Job("t1", Kind.TRAINING, "ada", 0.0, 10.0, 0.5),
        Job("t2", Kind.TRAINING, "ben", 1.0, 10.0, 0.5),
        Job("s", Kind.SHOOT, "cem", 2.0, 4.0, 0.1),
    ]


def test_first_come_is_first_served() -> None:
    jobs = two()
    simulate(FirstComeFirstServed(), jobs)
    assert [round(job.done) for job in jobs] == [10, 20, 24]


def test_two_queues_finish_what_has_begun_and_take_headshots_next() -> None:
    jobs = two()
    simulate(TwoQueues(), jobs)
    assert [round(job.done) for job in jobs] == [10, 24, 14]


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_day_for_every_policy(name: str) -> None:
    jobs = [job for job in jobs_of(1, COSTS[1]) if job.arrives < 14 * 3600]
    history = simulate(POLICIES[name](), jobs)
    assert sum(each.seconds for each in history) == pytest.approx(sum(job.seconds for job in jobs))
    assert all(job.done >= job.arrives + job.seconds - 1e-6 for job in jobs)
