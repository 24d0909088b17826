"""Progress is a plain callable: ``progress(done, total, what)``."""

from collections.abc import Callable

Progress = Callable[[float, float, str], None]


def no_progress(done: float, total: float, what: str) -> None:
    """Report to nobody."""


def part_of(progress: Progress, start: float, stop: float) -> Progress:
    """A progress for one stage of a job: its 0 … total becomes ``start`` … ``stop`` of 1.

    >>> part_of(print, 0.5, 1.0)(1, 4, "forward")
    0.625 1.0 forward
    """

    def report(done: float, total: float, what: str) -> None:
        progress(start + (stop - start) * (done / total if total else 1.0), 1.0, what)

    return report
