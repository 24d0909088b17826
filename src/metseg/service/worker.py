"""The worker: takes jobs from the queue and has them done by a runner. Run as ``python -m metseg.service.worker``."""

import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import sqlalchemy as sa

from metseg.core.errors import MetsegError
from metseg.service.audit import Audit
from metseg.service.durable import Enqueuer, launch, prepare_durable
from metseg.service.housekeeping import Housekeeper
from metseg.service.jobs import Job, Jobs
from metseg.service.options import job_options
from metseg.service.problems import Problem, problem_of
from metseg.service.runner_process import Bounds, Runner, RunnerDiedError, Runners, StoppedError
from metseg.service.settings import Settings, read_settings
from metseg.service.tables import open_database
from metseg.service.vault import Vault

_LOG: Final = logging.getLogger(__name__)
_CRASHES: Final = 2
_TELL_S: Final = 0.5
WITH_PARENT: Final = "--with-parent"


class Worker:
    """Does jobs, one for each call.

    Args:
        settings: of the service.
        engine: of ``open_database``.
        runners: that do the jobs.
    """

    def __init__(self, settings: Settings, engine: sa.Engine, runners: Runners) -> None:
        self._settings, self._jobs, self._audit = settings, Jobs(engine), Audit(engine)
        self._vault, self._runners = Vault(settings.data_dir), runners

    def segment(self, job_id: str) -> dict[str, Any]:
        """Have a job done.

        Returns:
            ``{"summary": …}``, ``{"problem": …}``, or neither where the job had ended or nobody wanted it any more.
        """
        job = self._jobs.start(job_id)
        if job is None:
            return {}
        runner = self._runners.take()
        try:
            return self._done_by(runner, job)
        except StoppedError:
            return {}
        except (Problem, MetsegError) as error:
            return {"problem": problem_of(error).document()}
        finally:
            self._runners.give(runner)

    def _done_by(self, runner: Runner, job: Job) -> dict[str, Any]:
        order = {
            "input": str(self._vault.input(job.id)),
            "sequences": job.sequences,
            "results": str(self._vault.results(job.id)),
            "volumes": str(self._vault.volumes(job.id)),
            "options": job_options(job.options, self._settings).model_dump(mode="json"),
        }
        while True:
            try:
                return runner.run(order, self._teller(job.id), lambda: self._jobs.is_active(job.id))
            except RunnerDiedError as error:
                crashes = self._jobs.crashed(job.id)
                _LOG.warning("job %s: the runner died (%s), for the %d. time", job.id, error.how, crashes)
                if crashes >= _CRASHES:
                    raise Problem(
                        "worker-crashed",
                        f"The process that segmented this study ended {crashes} times; the last time {error.how}.",
                        "Look whether the machine has enough memory; else the images hold something that metseg "
                        "cannot bear: tell the developers.",
                    ) from error

    def _teller(self, job_id: str) -> Callable[[str, float], None]:
        """Writes progress down: each stage, and each stage's progress twice a second."""
        last = ("", 0.0)

        def tell(stage: str, share: float) -> None:
            nonlocal last
            now = time.monotonic()
            if stage != last[0] or now - last[1] >= _TELL_S:
                last = (stage, now)
                self._jobs.progress(job_id, stage, share)

        return tell

    def conclude(self, job_id: str, outcome: dict[str, Any]) -> None:
        """Write down what became of a job; what was erased meanwhile leaves nothing behind."""
        problem, summary = outcome.get("problem"), outcome.get("summary")
        if problem is not None:
            ended = self._jobs.finish(job_id, "failed", problem=problem)
        elif summary is not None:
            ended = self._jobs.finish(job_id, "succeeded", summary=summary)
        else:
            ended = False
        job = self._jobs.get(job_id)
        if job.erased:
            self._vault.erase(job_id, ())
        if ended:
            code = {"problem": problem["code"]} if problem else {}
            self._audit.note("worker", job.state, job_id, content_sha256=job.content_sha256, **code)


def run_worker(settings: Settings, stopped: Event) -> None:
    """Take jobs until ``stopped``; a job that runs then goes on after the next start."""
    prepare_durable(settings)
    engine = open_database(settings)
    bounds = Bounds(settings.job_seconds, settings.job_memory_bytes)
    worker = Worker(settings, engine, Runners(settings.runners, bounds))
    keeper = Housekeeper(settings, engine, Enqueuer(settings))
    launch(settings, worker.segment, worker.conclude)
    keeper.work_until(stopped)


def main() -> None:
    """Run a worker; with ``--with-parent`` it ends when its standard input does."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s worker: %(message)s")
    logging.getLogger("dbos").setLevel(logging.WARNING)
    settings = read_settings()
    if WITH_PARENT in sys.argv:
        end_with_parent()
    # Whatever runs is safe to leave at any time: it goes on after a restart. So nothing is waited for.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    _alone(settings.data_dir / f"worker-{_file_name(settings.worker_name)}.lock")
    run_worker(settings, Event())


def end_with_parent() -> None:
    """End this process at once when its standard input ends."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os._exit(0)

    Thread(target=wait, daemon=True).start()


def _alone(path: Path) -> None:
    """Wait until no other process is the worker of this name; the lock ends with this process."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)


def _file_name(name: str) -> str:
    return "".join(sign if sign.isalnum() else "-" for sign in name)


if __name__ == "__main__":
    main()
