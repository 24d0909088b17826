"""What goes on beside the jobs: none is forgotten, those that are over go in time, half uploads are swept away."""

import logging
import time
from threading import Event
from typing import Final

import sqlalchemy as sa

from metseg.service.audit import Audit
from metseg.service.durable import RESTARTS, Enqueuer
from metseg.service.jobs import Jobs
from metseg.service.problems import Problem
from metseg.service.settings import Settings
from metseg.service.tables import WORKERS
from metseg.service.vault import Vault

_LOG: Final = logging.getLogger(__name__)
_BEAT_S: Final = 2.0
_TIDY_S: Final = 60.0
_STALE_S: Final = 6 * 3600.0
_SETTLED_S: Final = 5.0
ALIVE_S: Final = 30.0


class Housekeeper:
    """Looks after jobs and files.

    Args:
        settings: of the service.
        engine: of ``open_database``.
        enqueuer: of the queue.
    """

    def __init__(self, settings: Settings, engine: sa.Engine, enqueuer: Enqueuer) -> None:
        self._settings, self._enqueuer = settings, enqueuer
        self._engine = engine.execution_options(writes=True)
        self._jobs, self._audit, self._vault = Jobs(engine), Audit(engine), Vault(settings.data_dir)

    def work_until(self, stopped: Event) -> None:
        """Look around every two seconds, tidy up every minute."""
        tidied = float("-inf")
        while not stopped.is_set():
            try:
                self.beat()
                self.find_forgotten()
                if time.monotonic() - tidied > _TIDY_S:
                    self.tidy()
                    tidied = time.monotonic()
            except Exception:  # noqa: BLE001  # a database that is away comes back
                _LOG.exception("looking after the jobs failed; it is tried again")
            stopped.wait(_BEAT_S)

    def beat(self) -> None:
        """Say that this worker lives."""
        with self._engine.begin() as connection:
            name, now = self._settings.worker_name, time.time()
            if not connection.execute(sa.update(WORKERS).where(WORKERS.c.name == name).values(seen=now)).rowcount:
                connection.execute(sa.insert(WORKERS).values(name=name, seen=now))

    def find_forgotten(self) -> None:
        """Queue accepted jobs that the API could not queue before it died; end those that the engine gave up."""
        active = self._jobs.active(older_than=time.time() - _SETTLED_S)
        if not active:
            return
        for job_id in self._enqueuer.missing(active):
            self._enqueuer.enqueue(job_id)
        for job_id in self._enqueuer.lost(active):
            problem = Problem(
                "set-aside",
                f"The job could not be brought to an end, though it was begun up to {RESTARTS + 1} times.",
                "Look into the worker's log; then send the study again.",
            )
            if self._jobs.finish(job_id, "failed", problem=problem.document()):
                self._audit.note("worker", "failed", job_id, problem=problem.code)

    def tidy(self) -> None:
        """Erase what is over, and take away what belongs to nobody."""
        if self._settings.retention_days > 0:
            for job_id in self._jobs.ended(before=time.time() - self._settings.retention_days * 86400):
                erase_job(job_id, self._jobs, self._vault)
                self._enqueuer.forget(job_id)
                self._audit.note("retention", "erased", job_id)
        for job_id in self._vault.jobs(older_than_s=_STALE_S):
            try:
                gone = self._jobs.get(job_id).erased
            except Problem:  # accepted by nobody: the API died before it could
                gone = True
            if gone:
                self._vault.erase(job_id, ())
        self._vault.sweep(_STALE_S)


def erase_job(job_id: str, jobs: Jobs, vault: Vault) -> None:
    """Take away all of a job but its id, its owner, its times and how it ended."""
    hashes = [str(file["sha256"]) for file in jobs.get(job_id).files]
    jobs.erase(job_id)
    vault.erase(job_id, hashes)


def workers_alive(engine: sa.Engine) -> int:
    """How many workers were heard of lately."""
    query = sa.select(sa.func.count()).select_from(WORKERS).where(WORKERS.c.seen > time.time() - ALIVE_S)
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())
