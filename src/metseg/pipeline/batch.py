"""Many cases, one after the other: a failing one never stops the rest."""

import logging
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

from metseg.config.options import SegmentOptions
from metseg.core.errors import exit_code, explained
from metseg.core.progress import Progress, no_progress, part_of
from metseg.io.discover import CaseInput
from metseg.pipeline.case import run_case
from metseg.pipeline.models import EngineOf
from metseg.pipeline.outcome import CaseOutcome

_LOG = logging.getLogger(__name__)
OnOutcome = Callable[[CaseOutcome], None]


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

    Args:
        inputs: the cases, in order.
        out: the output folder.
        engine_of: gives the loaded model for a case.
        options: for all cases.
        force: do finished cases again.
        progress: 0 … 1 over all cases; what it says begins with the case's name.
        on_outcome: told of each case as it ends.

    Returns:
        One outcome a case, in order. An interrupt (``KeyboardInterrupt``) ends the batch and leaves no half result.
    """
    outcomes = []
    for index, case_input in enumerate(inputs):
        own = part_of(_named(progress, case_input.case), index / len(inputs), (index + 1) / len(inputs))
        outcome = _run_safely(case_input, out, engine_of, options, force=force, progress=own)
        on_outcome(outcome)
        outcomes.append(outcome)
    return outcomes


def batch_exit_code(outcomes: Sequence[CaseOutcome]) -> int:
    """0 if all went well, else the highest code of those that failed."""
    return max((outcome.exit_code for outcome in outcomes), default=0)


def _named(progress: Progress, case: str) -> Progress:
    return lambda done, total, what: progress(done, total, f"{case}: {what}")


def _run_safely(
    case_input: CaseInput, out: Path, engine_of: EngineOf, options: SegmentOptions, *, force: bool, progress: Progress
) -> CaseOutcome:
    start = perf_counter()
    try:
        progress(0.0, 1.0, "choosing the model")
        return run_case(case_input, out, engine_of(case_input), options, force=force, progress=progress)
    except Exception as error:  # noqa: BLE001  # the next case must run whatever this one met
        _LOG.debug("case %s failed", case_input.case, exc_info=True)
        return _failure(case_input.case, error, perf_counter() - start)


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
