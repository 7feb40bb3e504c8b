"""One GPU by a simulated clock: jobs arrive, a policy says whose quantum is next, some are cancelled.

The policy is `engine.scheduler.Scheduler` itself, or anything with the same four methods.
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


@dataclass
class Job:
    """Work of so many seconds in quanta of at most `quantum` seconds. -1 = not yet."""

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
    while clock < until:
        while coming and coming[-1].arrives <= clock:
            job = coming.pop()
            known[job.id] = job
            policy.add(job.id, job.kind, job.person)
        for job_id in [job_id for job_id, when in left.items() if when <= clock and job_id in known]:
            policy.remove(job_id)
            del left[job_id]
        chosen = policy.next()
        if chosen is None:
            if not coming:
                return history
            clock = coming[-1].arrives
            continue
        job = known[chosen]
        seconds = min(job.quantum, job.left)
        job.begun = clock if job.begun < 0 else job.begun
        history.append(Quantum(clock, job, seconds))
        clock += seconds
        job.left -= seconds
        policy.ran(job.id, seconds)
        if job.left <= _DONE_SECONDS:
            job.done = clock
            policy.remove(job.id)
    return history
