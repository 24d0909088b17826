"""Many cases: a failing one never stops the rest, and reading and writing go on beside the network."""

import logging
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import TypeVar

from metseg.config.options import SegmentOptions
from metseg.core.errors import exit_code, explained
from metseg.core.progress import JointProgress, Progress, no_progress
from metseg.io.discover import CaseInput
from metseg.pipeline.case import PredictedCase, ReadCase, Task, predict_case, read_case, write_case
from metseg.pipeline.flow import in_three_stages
from metseg.pipeline.models import EngineOf
from metseg.pipeline.outcome import CaseOutcome

_LOG = logging.getLogger(__name__)
OnOutcome = Callable[[CaseOutcome], None]
_Given = TypeVar("_Given", Task, ReadCase, PredictedCase)
_Made = TypeVar("_Made")


def run_batch(
    inputs: Sequence[CaseInput],
    out: Path,
    engine_of: EngineOf,
    options: SegmentOptions,
    *,
    force: bool = False,
    progress: Progress = no_progress,
    on_outcome: OnOutcome = lambda _: None,
) -> list[CaseOutcome]:
    """Run every case and say what became of each.

    While the network has one case, the case after it is read and prepared, and the case before it is written; so up to
    three studies are in memory. A lone case is done without threads. Pictures are drawn in the calling thread only.

    Args:
        inputs: the cases, in order, each of another name.
        out: the output folder.
        engine_of: gives the loaded model for a case.
        options: for all cases.
        force: do finished cases again.
        progress: 0 … 1 over all cases; what it says begins with the name of the first case that has not ended. Called
            from several threads, one at a time.
        on_outcome: told of each case once it and all before it have ended, in the calling thread.

    Returns:
        One outcome a case, in order. An interrupt (``KeyboardInterrupt``) ends the batch and leaves no half result.
    """
    outcomes: list[CaseOutcome] = []
    stopped = Event()
    joint = JointProgress(_until(stopped, progress), len(inputs))
    tasks = [
        Task(each, out, engine_of, options, force, _named(joint.of(n), each.case)) for n, each in enumerate(inputs)
    ]

    def finish(case: PredictedCase | CaseOutcome) -> None:
        outcomes.append(_safely(write_case, case))
        on_outcome(outcomes[-1])

    in_three_stages(tasks, partial(_safely, read_case), partial(_safely, predict_case), finish, stopped)
    return outcomes


def batch_exit_code(outcomes: Sequence[CaseOutcome]) -> int:
    """0 if all went well, else the highest code of those that failed."""
    return max((outcome.exit_code for outcome in outcomes), default=0)


def _named(progress: Progress, case: str) -> Progress:
    return lambda done, total, what: progress(done, total, f"{case}: {what}")


def _until(stopped: Event, progress: Progress) -> Progress:
    """Engines report now and then: that is where a thread ends whose work nobody wants any more."""

    def report(done: float, total: float, what: str) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        progress(done, total, what)

    return report


def _safely(stage: Callable[[_Given], _Made], given: _Given | CaseOutcome) -> _Made | CaseOutcome:
    """Do one stage of a case, unless the case has ended; what goes wrong ends this case only."""
    if isinstance(given, CaseOutcome):
        return given
    start = perf_counter()
    try:
        return stage(given)
    except Exception as error:  # noqa: BLE001  # the next case must run whatever this one met
        case = given.task.case_input.case
        _LOG.debug("case %s failed", case, exc_info=True)
        given.task.progress(1.0, 1.0, "failed")
        return _failure(case, error, given.seconds + perf_counter() - start)


def _failure(case: str, error: Exception, seconds: float) -> CaseOutcome:
    message, hint = explained(error)
    return CaseOutcome(
        case=case,
        state="failed",
        seconds=seconds,
        message=message,
        hint=hint,
        exit_code=exit_code(error),
        details="".join(traceback.format_exception(error)),
    )
