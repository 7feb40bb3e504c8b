"""The policy by simulation: nobody starves, shoots hardly wait for trainings, people are treated alike."""

import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from engine.scheduler import MAX_OWED_QUANTA, Kind, Scheduler


@dataclass
class Job:
    id: str
    kind: Kind
    person: str
    arrives: float
    seconds: float
    quantum: float
    begun: float = -1.0
    done: float = -1.0
    left: float = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.seconds


def simulate(
    jobs: list[Job], until: float = float("inf"), cancel: dict[str, float] | None = None
) -> list[tuple]:
    """One GPU; returns (time, job id, seconds) of every quantum. `cancel`: when a job is removed."""
    scheduler, clock, history = Scheduler(), 0.0, []
    coming = sorted(jobs, key=lambda job: job.arrives)
    known: dict[str, Job] = {}
    cancel = dict(cancel or {})
    while clock < until:
        while coming and coming[0].arrives <= clock:
            job = coming.pop(0)
            known[job.id] = job
            scheduler.add(job.id, job.kind, job.person)
        for job_id in [job_id for job_id, when in cancel.items() if when <= clock]:
            scheduler.remove(job_id)
            del cancel[job_id]
        chosen = scheduler.next()
        if chosen is None:
            if not coming:
                return history
            clock = coming[0].arrives
            continue
        job = known[chosen]
        seconds = min(job.quantum, job.left)
        job.begun = clock if job.begun < 0 else job.begun
        history.append((clock, job.id, seconds))
        clock += seconds
        job.left -= seconds
        scheduler.ran(job.id, seconds)
        if job.left <= 1e-9:
            job.done = clock
            scheduler.remove(job.id)
    return history


def training(name: str, person: str, arrives: float = 0.0, seconds: float = 60.0) -> Job:
    return Job(name, Kind.TRAINING, person, arrives, seconds, 0.5)


def shoot(name: str, person: str, arrives: float = 0.0, seconds: float = 4.0) -> Job:
    return Job(name, Kind.SHOOT, person, arrives, seconds, 0.1)


def test_nothing_waiting_is_nothing_to_do() -> None:
    assert Scheduler().next() is None


def test_a_shoot_gets_the_gpu_within_one_quantum_of_a_training() -> None:
    jobs = [training("t", "ada"), shoot("s", "ben", arrives=10.2)]
    simulate(jobs)
    assert jobs[1].begun - 10.2 <= 0.5


def test_a_training_beside_endless_shoots_gets_its_share() -> None:
    jobs = [training("t", "ada", seconds=500), *[shoot(f"s{i}", f"p{i}", i * 2.0) for i in range(400)]]
    history = simulate(jobs, until=400)
    trained = sum(seconds for _, job, seconds in history if job == "t")
    assert trained == pytest.approx(0.25 * 400, rel=0.05)


def test_a_training_waits_only_moments_for_its_share() -> None:
    jobs = [training("t", "ada", seconds=500), *[shoot(f"s{i}", f"p{i}", i * 3.0, 4.0) for i in range(60)]]
    history = simulate(jobs, until=150)
    times = [when for when, job, _ in history if job == "t"]
    assert max(later - earlier for earlier, later in pairwise(times)) < 6


def test_with_shoots_that_never_stop_arriving_the_training_still_moves() -> None:
    jobs = [training("t", "ada", seconds=50), *[shoot(f"s{i}", f"p{i}", i * 0.1, 0.1) for i in range(3000)]]
    history = simulate(jobs, until=200)
    times = [when for when, job, _ in history if job == "t"]
    assert len(times) > 5
    gap = max(later - earlier for earlier, later in pairwise(times))
    assert gap <= (MAX_OWED_QUANTA + 1) * 0.5 / 0.25


def test_alone_each_kind_has_the_gpu_to_itself() -> None:
    jobs = [training("t", "ada", seconds=30)]
    simulate(jobs)
    assert jobs[0].done == pytest.approx(30)


def test_one_person_with_many_shoots_does_not_keep_others_waiting() -> None:
    greedy = [shoot(f"g{i}", "greedy", arrives=0.0) for i in range(50)]
    modest = shoot("m", "modest", arrives=5.0)
    simulate([*greedy, modest])
    assert modest.done - modest.arrives <= 2 * 4.0 + 0.1


def test_who_was_away_has_saved_up_nothing() -> None:
    """A newcomer and one who had much before take turns from now on."""
    first = [shoot(f"a{i}", "ada", arrives=0.0) for i in range(10)]
    late = [shoot(f"b{i}", "ben", arrives=38.0) for i in range(10)]
    again = [shoot(f"c{i}", "ada", arrives=38.0) for i in range(10)]
    history = simulate([*first, *late, *again])
    share = sum(seconds for when, job, seconds in history if job[0] == "b" and 44 <= when < 84)
    assert 0.35 <= share / 40 <= 0.65


def test_what_has_begun_is_finished_first() -> None:
    jobs = [training("t1", "ada", seconds=60), training("t2", "ben", arrives=1, seconds=60)]
    simulate(jobs)
    assert jobs[0].done == pytest.approx(60)
    assert jobs[1].done == pytest.approx(120)


def test_a_cancelled_work_gets_no_further_quantum() -> None:
    jobs = [training("t", "ada"), training("u", "ben")]
    history = simulate(jobs, cancel={"t": 5.0})
    assert max(when for when, job, _ in history if job == "t") < 5.0
    assert jobs[1].done == pytest.approx(5.0 + 60, abs=0.5)


def test_ahead_counts_the_same_kind_only() -> None:
    scheduler = Scheduler()
    scheduler.add("t", Kind.TRAINING, "ada")
    for name, person in (("a", "ada"), ("b", "ben"), ("c", "cem")):
        scheduler.add(name, Kind.SHOOT, person)
    assert scheduler.next() == "a"
    assert [scheduler.ahead(name) for name in ("t", "a", "b", "c")] == [0, 0, 1, 2]
    scheduler.add("a", Kind.SHOOT, "ada")
    scheduler.remove("a")
    assert scheduler.ahead("c") == 1


@pytest.mark.parametrize("seed", range(20))
def test_random_days(seed: int) -> None:
    """200 people, 15 trainings, 600 shoots in a busy hour and a half: bounds for everyone, not on average."""
    day = random.Random(seed)
    trainings = [training(f"t{i}", f"p{day.randrange(200)}", day.uniform(0, 4000), 80.0) for i in range(15)]
    shoots = [
        shoot(f"s{i}", f"p{day.randrange(200)}", day.uniform(0, 5400), day.choice([2.0, 4.0, 10.0]))
        for i in range(600)
    ]
    jobs = [*trainings, *shoots]
    history = simulate(jobs)
    assert all(job.done >= 0 for job in jobs), "everybody is served"
    work = sum(job.seconds for job in jobs)
    assert sum(seconds for _, _, seconds in history) == pytest.approx(work), "and nobody twice"
    waits = sorted(job.begun - job.arrives for job in shoots)
    assert waits[len(waits) // 2] < 60
    for job in shoots:  # at most one quantum of training goes in between where no share is owed
        others = [o for o in shoots if o is not job and o.arrives < job.begun and o.done > job.arrives]
        owed = 0.25 / 0.75 * (job.begun - job.arrives + 10) + 0.5 * (MAX_OWED_QUANTA + 1)
        assert job.begun - job.arrives <= sum(o.seconds for o in others) + owed
    last = max(job.done for job in trainings)
    assert last <= 4000 + (sum(t.seconds for t in trainings)) / 0.25, "trainings end although shoots go first"
