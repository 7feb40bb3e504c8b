"""The policy by simulation: nobody starves, shoots hardly wait for trainings, people are treated alike."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.scheduler import MAX_OWED_QUANTA, TRAINING_SHARE, Kind, Scheduler
from tests.engine.one_gpu import Job, Quantum, simulate


def training(name: str, person: str, arrives: float = 0.0, seconds: float = 60.0) -> Job:
    return Job(name, Kind.TRAINING, person, arrives, seconds, 0.5)


def shoot(name: str, person: str, arrives: float = 0.0, seconds: float = 4.0) -> Job:
    return Job(name, Kind.SHOOT, person, arrives, seconds, 0.1)


def test_nothing_waiting_is_nothing_to_do() -> None:
    assert Scheduler().next() is None


def test_a_shoot_gets_the_gpu_within_one_quantum_of_a_training() -> None:
    jobs = [training("t", "ada"), shoot("s", "ben", arrives=10.2)]
    simulate(Scheduler(), jobs)
    assert jobs[1].begun - 10.2 <= 0.5


def test_a_training_beside_endless_shoots_gets_its_share() -> None:
    jobs = [training("t", "ada", seconds=500), *[shoot(f"s{i}", f"p{i}", i * 2.0) for i in range(400)]]
    history = simulate(Scheduler(), jobs, until=400)
    trained = sum(each.seconds for each in history if each.job.id == "t")
    assert trained == pytest.approx(0.25 * 400, rel=0.05)


def test_a_training_waits_only_moments_for_its_share() -> None:
    jobs = [training("t", "ada", seconds=500), *[shoot(f"s{i}", f"p{i}", i * 3.0, 4.0) for i in range(60)]]
    history = simulate(Scheduler(), jobs, until=150)
    times = [each.at for each in history if each.job.id == "t"]
    assert max(later - earlier for earlier, later in pairwise(times)) < 6


def test_with_shoots_that_never_stop_arriving_the_training_still_moves() -> None:
    jobs = [training("t", "ada", seconds=50), *[shoot(f"s{i}", f"p{i}", i * 0.1, 0.1) for i in range(3000)]]
    history = simulate(Scheduler(), jobs, until=200)
    times = [each.at for each in history if each.job.id == "t"]
    assert len(times) > 5
    gap = max(later - earlier for earlier, later in pairwise(times))
    assert gap <= (MAX_OWED_QUANTA + 1) * 0.5 / 0.25


def test_alone_each_kind_has_the_gpu_to_itself() -> None:
    jobs = [training("t", "ada", seconds=30)]
    simulate(Scheduler(), jobs)
    assert jobs[0].done == pytest.approx(30)


def test_one_person_with_many_shoots_does_not_keep_others_waiting() -> None:
    greedy = [shoot(f"g{i}", "greedy", arrives=0.0) for i in range(50)]
    modest = shoot("m", "modest", arrives=5.0)
    simulate(Scheduler(), [*greedy, modest])
    assert modest.done - modest.arrives <= 2 * 4.0 + 0.1


def test_who_was_away_has_saved_up_nothing() -> None:
    """A newcomer and one who had much before take turns from now on."""
    first = [shoot(f"a{i}", "ada", arrives=0.0) for i in range(10)]
    late = [shoot(f"b{i}", "ben", arrives=38.0) for i in range(10)]
    again = [shoot(f"c{i}", "ada", arrives=38.0) for i in range(10)]
    history = simulate(Scheduler(), [*first, *late, *again])
    share = sum(each.seconds for each in history if each.job.id[0] == "b" and 44 <= each.at < 84)
    assert 0.35 <= share / 40 <= 0.65


def test_what_has_begun_is_finished_first() -> None:
    jobs = [training("t1", "ada", seconds=60), training("t2", "ben", arrives=1, seconds=60)]
    simulate(Scheduler(), jobs)
    assert jobs[0].done == pytest.approx(60)
    assert jobs[1].done == pytest.approx(120)


def test_what_is_paused_is_passed_over_and_then_goes_before_what_began_later() -> None:
    scheduler = Scheduler()
    for name, person in (("a", "ada"), ("b", "ben"), ("c", "cem")):
        scheduler.add(name, Kind.SHOOT, person)
    assert scheduler.next() == "a"
    scheduler.ran("a", 5.0)
    scheduler.pause("a")
    assert scheduler.next() == "b"
    assert [scheduler.ahead(name) for name in "abc"] == [0, 1, 2]
    scheduler.resume("a")
    assert scheduler.next() == "a", "although it had more"
    for name in "abc":
        assert not scheduler.idle
        scheduler.pause(name)
    assert scheduler.idle
    assert scheduler.next() is None
    scheduler.remove("a")
    scheduler.resume("a")
    assert scheduler.idle
    scheduler.resume("c")
    assert scheduler.next() == "c"


def test_a_shoot_that_rests_leaves_the_gpu_to_a_training_and_has_it_back_within_its_quantum() -> None:
    resting = Job("s", Kind.SHOOT, "ben", 0.0, 4.0, 0.1, rests=((2.0, 3.0), (4.0, 2.0)))
    history = simulate(Scheduler(), [training("t", "ada"), resting])
    (start, end), _ = resting.rested
    assert all(each.job.id == "t" for each in history if start <= each.at < end)
    assert resting.done == pytest.approx(4.0 + 3.0 + 2.0 + 0.25 / 0.75 * 4.0, abs=2 * 0.5 + 0.2)


def test_a_cancelled_work_gets_no_further_quantum() -> None:
    jobs = [training("t", "ada"), training("u", "ben")]
    history = simulate(Scheduler(), jobs, cancel={"t": 5.0})
    assert max(each.at for each in history if each.job.id == "t") < 5.0
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
    history = simulate(Scheduler(), jobs)
    assert all(job.done >= 0 for job in jobs), "everybody is served"
    work = sum(job.seconds for job in jobs)
    assert sum(each.seconds for each in history) == pytest.approx(work), "and nobody twice"
    waits = sorted(job.begun - job.arrives for job in shoots)
    assert waits[len(waits) // 2] < 60
    for job in shoots:  # at most one quantum of training goes in between where no share is owed
        others = [o for o in shoots if o is not job and o.arrives < job.begun and o.done > job.arrives]
        owed = 0.25 / 0.75 * (job.begun - job.arrives + 10) + 0.5 * (MAX_OWED_QUANTA + 1)
        assert job.begun - job.arrives <= sum(o.seconds for o in others) + owed
    last = max(job.done for job in trainings)
    assert last <= 4000 + (sum(t.seconds for t in trainings)) / 0.25, "trainings end although shoots go first"


# Such that every other quantum is more than a training's share.
TRAINING_QUANTA, SHOOT_QUANTA = (0.15, 0.25, 0.5), (0.05, 0.1, 0.35)

moments = st.floats(0, 30, allow_nan=False)
people = st.sampled_from(["ada", "ben", "cem", "dia", "eve"])


@st.composite
def days(draw: st.DrawFn, resting: bool = False) -> list[Job]:
    """A busy half minute: much more work than the GPU can do in it, in pieces and quanta of all sizes; with
    shoots that rest now and then, also at their end."""
    jobs = [
        Job(
            f"t{i}", Kind.TRAINING, draw(people), draw(moments), draw(st.floats(0.1, 15)),
            draw(st.sampled_from(TRAINING_QUANTA)),
        )
        for i in range(draw(st.integers(0, 5)))
    ]  # fmt: skip
    shares = st.lists(st.sampled_from([0.25, 0.5, 1.0]), unique=True) if resting else st.just([])
    for i in range(draw(st.integers(0, 15))):
        seconds = draw(st.floats(0.05, 6))
        rests = tuple((share * seconds, draw(st.floats(0.1, 3))) for share in sorted(draw(shares)))
        jobs.append(
            Job(
                f"s{i}", Kind.SHOOT, draw(people), draw(moments), seconds,
                draw(st.sampled_from(SHOOT_QUANTA)), rests,
            )
        )  # fmt: skip
    return jobs


def between(history: list[Quantum], start: float, end: float) -> list[Quantum]:
    """Quanta that began in that time."""
    return [each for each in history if start <= each.at < end]


@settings(max_examples=400, deadline=None)
@given(days())
def test_between_a_shoots_arrival_and_the_next_quantum_of_any_shoot_lies_one_of_a_training(
    jobs: list[Job],
) -> None:
    """One may be running as it arrives, or one may be owed: never two."""
    history = simulate(Scheduler(), jobs)
    for shoot in (job for job in jobs if job.kind is Kind.SHOOT):
        running = [each for each in history if each.at < shoot.arrives <= each.at + each.seconds]
        until = next(each.at for each in history if each.at >= shoot.arrives and each.job.kind is Kind.SHOOT)
        trained = [*running, *between(history, shoot.arrives, until)]
        assert sum(each.job.kind is Kind.TRAINING for each in trained) <= 1
        if not any(job.kind is Kind.SHOOT and job.arrives < shoot.begun < job.done for job in jobs):
            assert shoot.begun - shoot.arrives <= max(TRAINING_QUANTA) + max(SHOOT_QUANTA) + 1e-6


@settings(max_examples=250, deadline=None)
@given(days())
def test_a_waiting_training_has_its_share_of_any_stretch_of_time(jobs: list[Job]) -> None:
    """Less at most the quanta it may be owed, wherever the stretch begins: nobody starves."""
    history = simulate(Scheduler(), jobs)
    trainings = [job for job in jobs if job.kind is Kind.TRAINING]
    for job in trainings:
        for start in (job.arrives, (job.arrives + job.done) / 2):
            spent = between(history, start, job.done)
            trained = sum(each.seconds for each in spent if each.job.kind is Kind.TRAINING)
            whole = sum(each.seconds for each in spent)
            slack = (MAX_OWED_QUANTA + 2) * max(TRAINING_QUANTA) + max(SHOOT_QUANTA)
            assert trained >= TRAINING_SHARE * whole - slack


@settings(max_examples=250, deadline=None)
@given(days())
def test_the_gpu_never_rests_and_does_nothing_twice(jobs: list[Job]) -> None:
    history = simulate(Scheduler(), jobs)
    assert all(job.done >= job.arrives + job.seconds - 1e-6 for job in jobs), "everybody is served"
    assert sum(each.seconds for each in history) == pytest.approx(sum(job.seconds for job in jobs))
    for earlier, later in pairwise(history):
        idle_from = earlier.at + earlier.seconds
        if later.at > idle_from + 1e-6:
            assert not [job for job in jobs if job.arrives < later.at - 1e-6 and job.done > later.at]


@settings(max_examples=250, deadline=None)
@given(days(resting=True))
def test_shoots_that_rest_get_no_quantum_and_keep_nobody_from_the_gpu(jobs: list[Job]) -> None:
    history = simulate(Scheduler(), jobs)
    for job in jobs:
        assert job.done >= job.arrives + job.seconds + sum(rest for _, rest in job.rests) - 1e-6
    assert not [each for each in history if each.job.rests_at(each.at)]
    for earlier, later in pairwise(history):
        before = later.at - 1e-6
        if before > earlier.at + earlier.seconds:
            assert all(job.rests_at(before) for job in jobs if job.arrives < before < job.done)


@settings(max_examples=250, deadline=None)
@given(days(resting=True))
def test_while_a_shoot_is_there_and_does_not_rest_a_training_has_one_quantum_at_a_time(
    jobs: list[Job],
) -> None:
    shoots = [job for job in jobs if job.kind is Kind.SHOOT]
    for earlier, later in pairwise(simulate(Scheduler(), jobs)):
        if earlier.job.kind is later.job.kind is Kind.TRAINING:
            there = [job for job in shoots if job.arrives <= earlier.at and job.done > later.at]
            resting = [job for job in there if job.rests_at(earlier.at) or job.rests_at(later.at - 1e-6)]
            assert there == resting


@pytest.mark.parametrize("kind", Kind)
@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["ada", "ben"]), st.floats(0.2, 8)), min_size=2, max_size=40))
def test_of_two_people_who_both_wait_nobody_is_more_than_a_piece_ahead(
    kind: Kind, pieces: list[tuple[str, float]]
) -> None:
    """The bound of start-time fair queueing: the difference in served seconds is at most a piece of each."""
    jobs = [Job(f"j{i}", kind, person, 0.0, seconds, 0.1) for i, (person, seconds) in enumerate(pieces)]
    history = simulate(Scheduler(), jobs)
    ends = [max((job.done for job in jobs if job.person == person), default=0.0) for person in ("ada", "ben")]
    served, most = {"ada": 0.0, "ben": 0.0}, max(seconds for _, seconds in pieces)
    for each in between(history, 0.0, min(ends)):
        served[each.job.person] += each.seconds
        assert abs(served["ada"] - served["ben"]) <= 2 * most + 0.1


@settings(max_examples=250, deadline=None)
@given(days(), st.data())
def test_cancelled_work_keeps_nobody_waiting_longer_than_its_quantum(
    jobs: list[Job], data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.sampled_from([job.id for job in jobs] or [""]), unique=True))
    when = {job_id: data.draw(moments) for job_id in chosen if job_id}
    history = simulate(Scheduler(), jobs, cancel=when)
    for each in history:
        assert each.at < when.get(each.job.id, float("inf")), "a quantum began after the cancellation"
    assert all(job.done >= 0 for job in jobs if job.id not in when), "the others are served"


def test_what_is_remembered_of_people_does_not_grow() -> None:
    scheduler, random_day = Scheduler(), random.Random(1)
    jobs = [shoot(f"s{i}", f"p{i}", i * 3.0, random_day.uniform(0.1, 6)) for i in range(3000)]
    simulate(scheduler, jobs)
    assert len(scheduler._served) < 10
