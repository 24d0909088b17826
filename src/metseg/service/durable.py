"""Durable execution by DBOS Transact: a job is a workflow, kept in a database until it has ended.

The API only enqueues. The worker runs workflows; one that dies goes on, after its restart, at the unfinished step.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Final

from dbos import DBOS, DBOSClient, DBOSConfig

from metseg.service.settings import Settings

_NAME: Final = "metseg"
_QUEUE: Final = "studies"
_WORKFLOW: Final = "segment_study"
# Changes only when workflows of an older version could not go on: else an update would leave jobs behind.
_VERSION: Final = "1"
# Of the worker, not of the job: crashes of the process that segments are counted by the workflow itself.
RESTARTS: Final = 20
_POLL_S: Final = 0.25
# What fails but the job itself is the database, which comes back.
_AGAIN: Final[dict[str, Any]] = {"retries_allowed": True, "interval_seconds": 1.0, "max_attempts": 8}
_LOST: Final = {"ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}


def prepare_durable(settings: Settings) -> None:
    """Make the engine's tables where they are missing."""
    logging.getLogger("dbos").setLevel(logging.WARNING)
    if not settings.database_url:
        # Kept in the file: readers do not wait for writers.
        connection = sqlite3.connect(settings.data_dir / "dbos.sqlite", timeout=30)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
    DBOS.migrate(settings.durable_url)


class Enqueuer:
    """Puts jobs into the queue and asks what became of them; runs none.

    Args:
        settings: of the service.
    """

    def __init__(self, settings: Settings) -> None:
        self._client = DBOSClient(system_database_url=settings.durable_url, application_name=_NAME)

    def enqueue(self, job_id: str) -> None:
        """Put a job into the queue; nothing happens where it is, or was."""
        self._client.enqueue(
            {"workflow_name": _WORKFLOW, "queue_name": _QUEUE, "workflow_id": job_id, "app_version": _VERSION}, job_id
        )

    def missing(self, job_ids: Iterable[str]) -> list[str]:
        """Those of the jobs that the queue does not know."""
        wanted = list(job_ids)
        known = self._status(wanted)
        return [job for job in wanted if job not in known]

    def lost(self, job_ids: Iterable[str]) -> list[str]:
        """Those of the jobs that the engine has given up."""
        return [job for job, status in self._status(list(job_ids)).items() if status in _LOST]

    def forget(self, job_id: str) -> None:
        """Take a job out of the engine's tables."""
        self._client.delete_workflow(job_id)

    def close(self) -> None:
        """Let go of the database."""
        self._client.destroy()

    def _status(self, job_ids: list[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for start in range(0, len(job_ids), 200):
            part = job_ids[start : start + 200]
            listed = self._client.list_workflows(workflow_ids=part, load_input=False, load_output=False)
            found |= {each.workflow_id: each.status for each in listed}
        return found


def launch(settings: Settings, segment: Callable[[str], dict[str, Any]], conclude: Callable[[str, Any], None]) -> None:
    """Start to take jobs from the queue.

    Args:
        settings: of the service.
        segment: does a job; may be called again for the same job, and then gives the same.
        conclude: writes down what became of it; may be called again.
    """
    config: DBOSConfig = {
        "name": _NAME,
        "system_database_url": settings.durable_url,
        "executor_id": settings.worker_name,
        "application_version": _VERSION,
        "log_level": "WARNING",
        "notification_listener_polling_interval_sec": 1.0,
    }
    DBOS(config=config)

    # Functions of their own: DBOS writes its marks into what it wraps, and a method takes none.
    @DBOS.step(name="segment", **_AGAIN)
    def segment_step(job_id: str) -> dict[str, Any]:
        return segment(job_id)

    @DBOS.step(name="conclude", **_AGAIN)
    def conclude_step(job_id: str, outcome: dict[str, Any]) -> None:
        conclude(job_id, outcome)

    @DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=RESTARTS)
    def segment_study(job_id: str) -> None:
        conclude_step(job_id, segment_step(job_id))

    DBOS.listen_queues([_QUEUE])
    DBOS.launch()
    DBOS.register_queue(
        _QUEUE, worker_concurrency=settings.runners, polling_interval_sec=_POLL_S, on_conflict="always_update"
    )


def stop(within_s: int) -> None:
    """Take no more jobs, and give those that run some time; the rest goes on after a restart."""
    DBOS.destroy(workflow_completion_timeout_sec=within_s)
