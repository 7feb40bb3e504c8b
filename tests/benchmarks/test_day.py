"""The policies that ours is compared with do what their names say, and every policy does the same work."""

import pytest

from benchmarks import day as module
from benchmarks.day import COSTS, POLICIES, FirstComeFirstServed, TwoQueues, jobs_of, report, shoot
from engine.scheduler import Kind
from tests.engine.one_gpu import Job, simulate


def two() -> list[Job]:
    return [
        Job("t1", Kind.TRAINING, "ada", 0.0, 10.0, 0.5),
        Job("t2", Kind.TRAINING, "ben", 1.0, 10.0, 0.5),
        Job("s", Kind.SHOOT, "cem", 2.0, 4.0, 0.1, rests=((4.0, 2.0),)),
    ]


def test_first_come_is_first_served() -> None:
    jobs = two()
    simulate(FirstComeFirstServed(), jobs)
    assert [round(job.done) for job in jobs] == [10, 20, 26]


def test_two_queues_finish_what_has_begun_and_take_headshots_next() -> None:
    jobs = two()
    simulate(TwoQueues(), jobs)
    assert [round(job.done) for job in jobs] == [10, 26, 16], "the GPU waits with the shoot"


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_day_for_every_policy(name: str) -> None:
    jobs = [job for job in jobs_of(1, COSTS[1]) if job.arrives < 14 * 3600]
    history = simulate(POLICIES[name](), jobs)
    assert sum(each.seconds for each in history) == pytest.approx(sum(job.seconds for job in jobs))
    assert all(job.done >= job.arrives + job.seconds - 1e-6 for job in jobs)


def test_a_shoot_alone_waits_for_the_last_look_of_a_round_and_for_its_marks() -> None:
    costs = COSTS[2]
    usual, long = (shoot(f"s{more}", "ada", 0.0, more, costs) for more in (0, 4))
    for job in (usual, long):
        simulate(POLICIES["ours"](), [job])
    beside = module.LOOKING_AT_IT + 4 * module.MARKING
    assert usual.done == pytest.approx(8 * costs.picture + beside)
    assert long.done == pytest.approx(12 * costs.picture + module.LOOKING_AT_IT + beside)


def test_the_page_has_a_table_for_every_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHOOTS", 20)
    text = report(days=1)
    assert text.count("| ours |") == len(COSTS)
    assert "0.53 s" in text
