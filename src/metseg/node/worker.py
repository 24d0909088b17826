"""The process that segments: models stay loaded in it, and what brings it down does not bring down the node."""

import multiprocessing
import os
import signal
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import Event, Thread
from time import monotonic

from metseg.core.errors import InferenceError, MetsegError, exit_code, explained
from metseg.io.dicom_values import quiet_for_good
from metseg.io.discover import CaseInput
from metseg.node.options import NodeOptions
from metseg.node.rules import choose_files
from metseg.node.store import Job
from metseg.pipeline.models import EngineOf
from metseg.pipeline.outcome import CaseOutcome

_STEP_S = 0.2


class StoppedError(Exception):
    """The node is asked to stop."""


@dataclass(frozen=True)
class Segmented:
    """What became of a job, and the name of the rule that chose its series."""

    outcome: CaseOutcome
    rule: str = ""


class Worker:
    """The process, started when it is needed and again after it died.

    Args:
        options: of the node.
        results: folder of results.
        stop: set when the node is asked to stop.
    """

    def __init__(self, options: NodeOptions, results: Path, stop: Event) -> None:
        self._options, self._results, self._stop = options, results, stop
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def start(self) -> None:
        """Start the process and wait until its models are found.

        Raises:
            MetsegError: what keeps it from starting: an option, a model, a missing extra.
            StoppedError: the node was asked to stop meanwhile.
        """
        self.end()
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(
            target=_work, args=(far, self._options, self._results), name="metseg worker", daemon=True
        )
        self._process.start()
        far.close()
        answer = self._answer(600)
        if isinstance(answer, MetsegError):
            raise answer
        if answer is None:
            raise InferenceError("The process that segments does not start.", hint="Try metseg segment on a study.")

    def segment(self, job: Job) -> Segmented | None:
        """Segment a study; None: the process died of it, or took too long and was ended.

        Raises:
            StoppedError: the node was asked to stop; the study is not done.
        """
        if self._process is None or not self._process.is_alive():
            self.start()
        assert self._pipe is not None  # noqa: S101 - start() made it
        self._pipe.send(job)
        answer = self._answer(self._options.longest_min * 60)
        if not isinstance(answer, Segmented):
            self.end()
            return None
        return answer

    def end(self) -> None:
        """End the process, whatever it does; a result that it was writing does not appear."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _answer(self, longest_s: float) -> object:
        """What the process says; None where it dies or takes too long."""
        until = monotonic() + longest_s
        assert self._pipe is not None  # noqa: S101 - asked for after start() only
        while monotonic() < until:
            if self._stop.is_set():
                self.end()
                raise StoppedError
            try:
                if self._pipe.poll(_STEP_S):
                    return self._pipe.recv()
            except (EOFError, OSError):
                return None
        return None


def _work(pipe: Connection, options: NodeOptions, results: Path) -> None:
    """The process: one job after another, for as long as the node lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both; the node decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Thread(target=_end_with_parent, daemon=True).start()
    quiet_for_good()
    from metseg.pipeline.models import Models
    from metseg.pipeline.outputs import check_formats

    try:
        check_formats(options.segment)
        models = Models(options.segment)
    except MetsegError as error:
        pipe.send(error)
        return
    pipe.send("ready")
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(segment_job(job, options, results, models.of))


def segment_job(job: Job, options: NodeOptions, results: Path, engine_of: EngineOf) -> Segmented:
    """Choose the series and segment it as ``metseg segment`` does; never raises what one study provokes."""
    from metseg.pipeline.batch import run_batch

    try:
        choice = choose_files(job.files, options.rule, options.unmatched)
    except Exception as error:  # noqa: BLE001 - as run_batch: the next study must run whatever this one met
        message, hint = explained(error)
        return Segmented(CaseOutcome(job.case, "failed", 0.0, message=message, hint=hint, exit_code=exit_code(error)))
    case = CaseInput(job.case, choice.files, "dicom")
    (outcome,) = run_batch([case], results, engine_of, options.segment)
    return Segmented(replace(outcome, details=""), choice.rule)  # a traceback may quote a header


def _end_with_parent() -> None:
    """A node that was killed must not leave a process that writes into its store."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
