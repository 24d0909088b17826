"""Cases worked on by several processes: none stops the others, whatever happens to it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from metseg.core.errors import MetsegError

Job = TypeVar("Job")
Result = TypeVar("Result")


def as_done(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int
) -> Iterator[tuple[Job, Result | BaseException]]:
    """Each job as soon as it is done, with what came of it, or with the error that stopped it.

    Args:
        work: may be sent to another process, and so may the jobs and what comes of them.
        jobs: in the order in which they are begun.
        workers: processes; 1: this one.
    """
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            try:
                result: Result | BaseException = work(job)
            except Exception as error:  # noqa: BLE001  it is told with its job
                result = error
            yield job, result
        return
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn")) as pool:
        running: dict[Future[Result], Job] = {pool.submit(work, job): job for job in jobs}
        try:
            for future in as_completed(running):
                failed = future.exception()
                yield running[future], future.result() if failed is None else _told(failed)
        finally:  # nobody asks any more: what was not begun is not
            pool.shutdown(wait=False, cancel_futures=True)


def _told(error: BaseException) -> BaseException:
    if not isinstance(error, BrokenProcessPool):
        return error
    return MetsegError(
        "The process that worked on it was stopped by the system, for want of memory most likely.",
        hint="Run the same command again, with fewer workers.",
    )
