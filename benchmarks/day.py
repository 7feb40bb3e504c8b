"""A day on one GPU by a simulated clock: how long people wait with our scheduler, and with what is usual.

    python -m benchmarks.day

200 people, 15 trainings and 600 shoots, half of them in the evening. Our scheduler is the engine's own class;
it is compared with first come, first served, and with a worker that takes headshots before trainings but
finishes what it has begun. Needs no GPU: each quantum costs what `Costs` says. What the processor does for a
shoot is beside the GPU, which ours lends to others meanwhile; the usual ones hold it. Writes results/day.md.
"""

import argparse
import datetime
import platform
import random
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commit import commit
from engine.scheduler import Kind, Scheduler
from engine.training_work import TRAINING_QUANTUM_SECONDS
from tests.engine.one_gpu import Job, Policy, simulate

RESULT = Path(__file__).parent / "results" / "day.md"
PEOPLE, TRAININGS, SHOOTS, DAYS = 200, 15, 600, 5
HOUR = 3600.0

DECODING = 0.15  # a quantum; assumed: 10.5 TFLOP in convolutions. Measured only together with the steps
PREPARING = 15 * 0.4  # assumed: crops of 15 selfies through the VAE
LOOKING_SHARE = 0.1  # by design: looks cost at most a tenth of a training's passes (docs/log.md)
TRAINING_STEPS = 1000  # engine.presets, "balanced"
DENOISING_STEPS = 28
HEADSHOTS, PICTURES = 4, 8
MORE_PICTURES = (0, 0, 0, 4)  # assumed: sometimes those are not good enough, and more are drawn
# Of the processor for a picture of 1024 px, beside the H200 (results/selfies_to_headshots.md): bringing it to
# the disk while the next is drawn, and the look at a face. Then to mark one that was chosen.
LOOKING_AT_IT, MARKING = 0.22 + 0.2, 0.53


@dataclass(frozen=True)
class Costs:
    """Seconds of a GPU for FLUX.1-dev: a denoising step at 1024 px, for each of the pictures that are drawn
    together, and training steps."""

    name: str
    denoising_step: float
    training_step_512: float
    training_step_768: float
    together: int = 1

    @property
    def quantum(self) -> float:
        """Of a shoot."""
        return self.denoising_step * self.together

    @property
    def picture(self) -> float:
        """Seconds of the GPU for one."""
        return DENOISING_STEPS * self.denoising_step + DECODING

    @property
    def training_step(self) -> float:
        """On average: a resolution comes as seldom as it is large (engine.crops): 512 and 768 as 9 to 4."""
        return (9 * self.training_step_512 + 4 * self.training_step_768) / 13


COSTS = (
    # Measured on an H200 with random weights; 768 px assumed, by tokens between 512 (.121) and 1024 (.412).
    Costs("Compiled by blocks, as measured at the start", 0.151, 0.121, 0.225),
    # Measured on an H100, random weights, drawing in float8 and training in bfloat16; 768 px from the mean of
    # 1000 steps of a preset.
    Costs("As measured with few kernels, recorded", 0.090, 0.108, 0.180),
    # Measured on an H200, both in float8: four pictures in 8.98 s (results/flux_speed.md), a training step at
    # 512 px .077 s; 1000 steps of a preset 92.7 s (results/selfies_to_headshots.md).
    Costs("As measured on an H200", 8.98 / 4 / DENOISING_STEPS, 0.077, 0.128, together=4),
    # Four pictures in 9 s, 1000 training steps in 80 s; 768 px again by tokens, to 1024 in .26 s.
    Costs("At the goals of the engine's speed", 9 / 4 / DENOISING_STEPS, 0.080, 0.145, together=4),
)


class FirstComeFirstServed:
    """One queue; what has begun is finished."""

    def __init__(self) -> None:
        self._queue: deque[str] = deque()
        self._paused = ""

    def add(self, task_id: str, kind: Kind, person_id: str) -> None:
        """See `Policy`."""
        self._queue.append(task_id)

    def remove(self, task_id: str) -> None:
        """See `Policy`."""
        self._queue.remove(task_id)

    def next(self) -> str | None:
        """See `Policy`."""
        return self._queue[0] if self._queue and self._queue[0] != self._paused else None

    def ran(self, task_id: str, seconds: float) -> None:
        """See `Policy`."""

    def pause(self, task_id: str) -> None:
        """See `Policy`. Only what has begun can wait, and that is one."""
        self._paused = task_id

    def resume(self, task_id: str) -> None:
        """See `Policy`."""
        self._paused = ""


class TwoQueues:
    """Headshots before trainings, each first come, first served; what has begun is finished."""

    def __init__(self) -> None:
        self._queues = {kind: FirstComeFirstServed() for kind in (Kind.SHOOT, Kind.TRAINING)}
        self._kinds: dict[str, Kind] = {}
        self._begun: str | None = None

    def add(self, task_id: str, kind: Kind, person_id: str) -> None:
        """See `Policy`."""
        self._kinds[task_id] = kind
        self._queues[kind].add(task_id, kind, person_id)

    def remove(self, task_id: str) -> None:
        """See `Policy`."""
        self._of(task_id).remove(task_id)
        del self._kinds[task_id]
        self._begun = None if self._begun == task_id else self._begun

    def next(self) -> str | None:
        """See `Policy`."""
        if self._begun is None:
            self._begun = self._queues[Kind.SHOOT].next() or self._queues[Kind.TRAINING].next()
        return self._of(self._begun).next() if self._begun else None

    def ran(self, task_id: str, seconds: float) -> None:
        """See `Policy`."""

    def pause(self, task_id: str) -> None:
        """See `Policy`."""
        self._of(task_id).pause(task_id)

    def resume(self, task_id: str) -> None:
        """See `Policy`."""
        self._of(task_id).resume(task_id)

    def _of(self, task_id: str) -> FirstComeFirstServed:
        return self._queues[self._kinds[task_id]]


POLICIES: dict[str, Callable[[], Policy]] = {
    "ours": Scheduler,
    "first come, first served": FirstComeFirstServed,
    "two queues, headshots first": TwoQueues,
}


@dataclass(frozen=True)
class Waits:
    """Seconds from request to something, of every job of one kind."""

    seconds: tuple[float, ...]

    def __str__(self) -> str:
        """Median and 95th percentile."""
        ordered = sorted(self.seconds)
        return f"{show(statistics.median(ordered))} | {show(ordered[int(0.95 * len(ordered))])}"


def show(seconds: float) -> str:
    """Seconds, or minutes where that is easier to read."""
    return f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds:.1f} s"


def arrival(day: random.Random) -> float:
    """Seconds after midnight: half between 8 and 24 o'clock evenly, half around half past eight."""
    if day.random() < 0.5:
        return day.uniform(8 * HOUR, 24 * HOUR)
    return min(max(day.gauss(20.5 * HOUR, 1.2 * HOUR), 8 * HOUR), 24 * HOUR)


def jobs_of(seed: int, costs: Costs) -> list[Job]:
    """A day's requests, the same for every policy."""
    day = random.Random(seed)
    training = TRAINING_STEPS * costs.training_step * (1 + LOOKING_SHARE) + PREPARING
    steps = -(-TRAINING_QUANTUM_SECONDS // costs.training_step)
    jobs = [
        Job(
            f"t{i}",
            Kind.TRAINING,
            f"p{day.randrange(PEOPLE)}",
            arrival(day),
            training,
            steps * costs.training_step,
        )
        for i in range(TRAININGS)
    ]
    for i in range(SHOOTS):
        more = day.choice(MORE_PICTURES)
        jobs.append(shoot(f"s{i}", f"p{day.randrange(PEOPLE)}", arrival(day), more, costs))
    return jobs


def shoot(name: str, person: str, arrives: float, more: int, costs: Costs) -> Job:
    """The look at a picture is over before the next is drawn: it waits for the last one's, then for marks."""
    first, drawn = PICTURES * costs.picture, (PICTURES + more) * costs.picture
    between = ((first, LOOKING_AT_IT),) if more else ()
    rests = (*between, (drawn, LOOKING_AT_IT + HEADSHOTS * MARKING))
    return Job(name, Kind.SHOOT, person, arrives, drawn, costs.quantum, rests)


def row(name: str, make: Callable[[], Policy], costs: Costs, days: int) -> str:
    """One policy's line of the table."""
    jobs = [job for seed in range(days) for job in _served(make(), seed, costs)]
    shoots = [job for job in jobs if job.kind is Kind.SHOOT]
    trainings = [job for job in jobs if job.kind is Kind.TRAINING]
    columns = (
        Waits(tuple(job.begun - job.arrives for job in shoots)),
        Waits(tuple(job.done - job.arrives for job in shoots)),
        Waits(tuple(job.done - job.arrives for job in trainings)),
    )
    return f"| {name} | {' | '.join(map(str, columns))} |"


def _served(policy: Policy, seed: int, costs: Costs) -> list[Job]:
    jobs = jobs_of(seed, costs)
    simulate(policy, jobs)
    return jobs


def table(costs: Costs, days: int) -> list[str]:
    """Every policy at these costs."""
    jobs = jobs_of(0, costs)
    busy = sum(job.seconds for job in jobs) / (16 * HOUR)
    evening = [job for job in jobs if 19.5 * HOUR <= job.arrives < 21.5 * HOUR]
    rush = sum(job.seconds for job in evening) / (2 * HOUR)
    return [
        f"## {costs.name}",
        "",
        f"A denoising step takes {costs.denoising_step:.3f} s for each of {costs.together} together, decoding"
        f" {DECODING:.2f} s, a training step {costs.training_step:.3f} s, a training {show(jobs[0].seconds)}."
        f" Beside the GPU a picture takes {LOOKING_AT_IT:.2f} s, and {MARKING:.2f} s where it is delivered."
        f" Work of the GPU for {busy:.0%} of the waking hours, {rush:.0%} of the two busiest.",
        "",
        "| policy | headshots begin: median | p95 | delivered: median | p95 | trained: median | p95 |",
        "|---|---|---|---|---|---|---|",
        *(row(name, make, costs, days) for name, make in POLICIES.items()),
        "",
    ]


def report(days: int) -> str:
    """The whole page."""
    lines = [
        "# A day on one GPU",
        "",
        f"{datetime.datetime.now(datetime.UTC).date()}, commit {commit()}, Python"
        f" {platform.python_version()}."
        f" Simulated: {days} days, each of {TRAININGS} trainings and {SHOOTS} shoots of {PEOPLE} people, half"
        " of them in the evening. What is measured and what is assumed stands in benchmarks/day.py. Again:"
        " `python -m benchmarks.day`.",
        "",
        *(line for costs in COSTS for line in table(costs, days)),
    ]
    return "\n".join(lines)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=DAYS, help="simulated days")
    page = report(parser.parse_args().days)
    RESULT.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
