"""Progress is a plain callable: ``progress(done, total, what)``."""

from collections.abc import Callable
from threading import Lock

Progress = Callable[[float, float, str], None]


def no_progress(done: float, total: float, what: str) -> None:
    """Report to nobody."""


def part_of(progress: Progress, start: float, stop: float) -> Progress:
    """A progress for one stage of a job: its 0 … total becomes ``start`` … ``stop`` of 1.

    >>> part_of(print, 0.5, 1.0)(1, 4, "forward")
    0.625 1.0 forward
    """

    def report(done: float, total: float, what: str) -> None:
        progress(start + (stop - start) * _share(done, total), 1.0, what)

    return report


class JointProgress:
    """One progress for several jobs that run at the same time.

    It never goes back, and it tells of the first job that has not ended, so that the messages of neighbours do not
    alternate. The thread that reports calls ``progress``, one thread at a time.

    Args:
        progress: 0 … 1 over all jobs.
        jobs: how many there are.
    """

    def __init__(self, progress: Progress, jobs: int) -> None:
        self._progress = progress
        self._done = [0.0] * jobs
        self._what = [""] * jobs
        self._lock = Lock()

    def of(self, job: int) -> Progress:
        """The progress of one job, by its number from 0."""

        def report(done: float, total: float, what: str) -> None:
            with self._lock:
                self._done[job] = max(self._done[job], _share(done, total))
                self._what[job] = what
                first = next((n for n, share in enumerate(self._done) if share < 1), job)
                self._progress(sum(self._done) / len(self._done), 1.0, self._what[first] or what)

        return report


def _share(done: float, total: float) -> float:
    return done / total if total else 1.0
