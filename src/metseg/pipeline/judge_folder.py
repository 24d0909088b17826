"""Many cases on all cores. A worker that dies costs one case at most, and never hangs the rest."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Final

from metseg.config.evaluation import JudgeOptions
from metseg.core.progress import Progress, no_progress
from metseg.io.pairs import CasePair
from metseg.pipeline.judge_case import FailedCase, JudgedCase, failure, judge_pair

Outcome = JudgedCase | FailedCase
JudgePair = Callable[[CasePair, JudgeOptions], Outcome]
_DIED_HINT: Final = "Often memory has run out: use fewer processes at a time, with --jobs."


def judge_pairs(
    pairs: Sequence[CasePair],
    options: JudgeOptions,
    *,
    jobs: int = 0,
    progress: Progress = no_progress,
    judge: JudgePair = judge_pair,
) -> list[Outcome]:
    """Judge every case, one at a time in each of several processes.

    Args:
        pairs: the cases.
        options: for all of them.
        jobs: processes at a time; 0 for one a core. A single case is judged in this process.
        progress: counts cases.
        judge: what judges one case; a function of a module, so that other processes find it.

    Returns:
        One outcome a case, in order.
    """
    if len(pairs) == 1:
        progress(0, 1, pairs[0].case)
        return [judge(pairs[0], options)]
    found: dict[int, Outcome] = {}
    waiting = list(range(len(pairs)))[::-1]
    workers = min(jobs or len(os.sched_getaffinity(0)), len(pairs))

    def done(index: int, outcome: Outcome) -> None:
        found[index] = outcome
        progress(len(found), len(pairs), outcome.case)

    while waiting:
        suspects = _run(pairs, options, waiting, workers, judge, done)
        # Whichever case killed its worker, the pool fails all that were running: each of them gets a process alone.
        for index in suspects:
            if _run(pairs, options, [index], 1, judge, done):
                done(index, _died(pairs[index]))
    return [found[index] for index in range(len(pairs))]


def _run(
    pairs: Sequence[CasePair],
    options: JudgeOptions,
    waiting: list[int],
    workers: int,
    judge: JudgePair,
    done: Callable[[int, Outcome], None],
) -> list[int]:
    """Judge the last of ``waiting`` first, until none waits or a worker dies; returns cases that were running then."""
    running: dict[Future[Outcome], int] = {}
    with _pool(workers) as pool:
        try:
            while waiting or running:
                # No more than there are workers, so that few cases are under suspicion when one dies.
                while waiting and len(running) < workers:
                    index = waiting[-1]
                    with _interrupts_wait():
                        running[pool.submit(judge, pairs[index], options)] = index
                    waiting.pop()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    outcome = _outcome(future, pairs[running[future]])
                    done(running.pop(future), outcome)
        except BrokenProcessPool:
            return _suspects(running, done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return []


def _outcome(future: Future[Outcome], pair: CasePair) -> Outcome:
    """What a process answered, or why its answer did not arrive."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise
    except Exception as error:  # noqa: BLE001  # an answer that could not be sent costs its case only
        return failure(pair, error)


def _suspects(running: dict[Future[Outcome], int], done: Callable[[int, Outcome], None]) -> list[int]:
    """Of the cases that were running, take the finished ones; the others are suspects."""
    suspects = []
    for future, index in running.items():
        if future.done() and future.exception() is None:
            done(index, future.result())
        else:
            suspects.append(index)
    return suspects


def _pool(workers: int) -> ProcessPoolExecutor:
    # Spawned, because a copy of a process that has threads can start with a lock that nobody will open.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Processes started in this block never hear Ctrl-C, which reaches all of a terminal: we decide what it means."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _died(pair: CasePair) -> FailedCase:
    message = "The process that judged this case ended without a word."
    return FailedCase(pair.case, pair.patient, "BrokenProcessPool", message, _DIED_HINT)
