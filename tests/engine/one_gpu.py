"""One GPU by a simulated clock: jobs arrive, a policy says whose quantum is next, some are cancelled.

The policy is `engine.scheduler.Scheduler` itself, or anything with the same methods.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from engine.scheduler import Kind

_DONE_SECONDS = 1e-9


class Policy(Protocol):
    """Who is next; see `engine.scheduler.Scheduler`."""

    def add(self, task_id: str, kind: Kind, person_id: str) -> None: ...

    def remove(self, task_id: str) -> None: ...

    def next(self) -> str | None: ...

    def ran(self, task_id: str, seconds: float) -> None: ...

    def pause(self, task_id: str) -> None: ...

    def resume(self, task_id: str) -> None: ...


@dataclass
class Job:
    """Work of so many seconds in quanta of at most `quantum` seconds. -1 = not yet.

    rests: after so many of its seconds, in order, it waits for so long for something else than the GPU.
    rested: from when until when it did.
    """

    id: str
    kind: Kind
    person: str
    arrives: float
    seconds: float
    quantum: float
    rests: tuple[tuple[float, float], ...] = ()
    begun: float = -1.0
    done: float = -1.0
    left: float = field(init=False)
    rested: list[tuple[float, float]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.left = self.seconds

    @property
    def until_rest(self) -> float:
        """Seconds of its own until it rests next."""
        coming = self.rests[len(self.rested) :]
        return coming[0][0] - (self.seconds - self.left) if coming else float("inf")

    def rests_at(self, moment: float) -> bool:
        return any(start <= moment < end for start, end in self.rested)


@dataclass(frozen=True)
class Quantum:
    """The GPU worked on a job from `at` for `seconds`."""

    at: float
    job: Job
    seconds: float


def simulate(
    policy: Policy,
    jobs: Sequence[Job],
    until: float = float("inf"),
    cancel: Mapping[str, float] | None = None,
) -> list[Quantum]:
    """Every quantum in order. `cancel`: when a job is removed; seen between quanta, as the engine does."""
    clock, history, left = 0.0, list[Quantum](), dict(cancel or {})
    coming, known = sorted(jobs, key=lambda job: job.arrives)[::-1], dict[str, Job]()
    resting = dict[str, float]()
    while clock < until:
        while coming and coming[-1].arrives <= clock:
            job = coming.pop()
            known[job.id] = job
            policy.add(job.id, job.kind, job.person)
        for job_id in [job_id for job_id, when in left.items() if when <= clock and job_id in known]:
            policy.remove(job_id)
            resting.pop(job_id, None)
            del left[job_id]
        for job_id in [job_id for job_id, end in resting.items() if end <= clock]:
            del resting[job_id]
            policy.resume(job_id)
            _end(policy, known[job_id], clock)
        chosen = policy.next()
        if chosen is None:
            if not coming and not resting:
                return history
            clock = min([*resting.values(), *(job.arrives for job in coming[-1:])])
            continue
        job = known[chosen]
        seconds = min(job.quantum, job.left, job.until_rest)
        job.begun = clock if job.begun < 0 else job.begun
        history.append(Quantum(clock, job, seconds))
        clock += seconds
        job.left -= seconds
        policy.ran(job.id, seconds)
        if job.until_rest <= _DONE_SECONDS:
            resting[job.id] = clock + job.rests[len(job.rested)][1]
            job.rested.append((clock, resting[job.id]))
            policy.pause(job.id)
        else:
            _end(policy, job, clock)
    return history


def _end(policy: Policy, job: Job, clock: float) -> None:
    if job.left <= _DONE_SECONDS:
        job.done = clock
        policy.remove(job.id)
