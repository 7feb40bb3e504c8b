"""What the processor does beside the GPU, such as marking a headshot: whoever needs the GPU does not wait
for it."""

from collections.abc import Callable
from concurrent.futures import Executor, Future, wait


class Beside:
    """The jobs of one piece of work, done in order on a thread that others use too. Asked by one thread."""

    def __init__(self, thread: Executor, wake: Callable[[], None]) -> None:
        """`wake` is called after each job, however it ended, mostly from that thread."""
        self._thread, self._wake = thread, wake
        self._jobs: list[Future[None]] = []

    def begin(self, job: Callable[[], None]) -> None:
        """Have it done after those before it."""
        future = self._thread.submit(job)
        self._jobs.append(future)
        future.add_done_callback(lambda _: self._wake())

    @property
    def failed(self) -> bool:
        """Whether `under_way` would raise."""
        over = (job for job in self._jobs if job.done() and not job.cancelled())
        return any(job.exception() is not None for job in over)

    @property
    def pending(self) -> int:
        """How many are not done yet."""
        return sum(not job.done() for job in self._jobs)

    def under_way(self) -> int:
        """`pending`. Raises, once, what went wrong in one that is done."""
        while self._jobs and self._jobs[0].done():
            self._jobs.pop(0).result()
        return len(self._jobs)

    def wait(self) -> None:
        """Until all are done, well or not."""
        wait(self._jobs)

    def close(self) -> None:
        """What has not begun is never done; what has is waited for, and its errors are nobody's any more."""
        wait([job for job in self._jobs if not job.cancel()])
        self._jobs.clear()
