"""Jobs and what happened to them: every change of state is one transaction that also writes its event."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa

from metseg.service.problems import Problem
from metseg.service.tables import EVENTS, JOBS, REQUESTS

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
ACTIVE: Final = ("queued", "running")
TERMINAL: Final = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class NewJob:
    """What a job is made of.

    Args:
        id: of ``new_id``.
        owner: who asked for it.
        content_sha256: over all files, the parts they play, and the options.
        label: name to show; may hold a patient's name: it is erased with the job and stands in no log.
        files: name shown, bytes and SHA-256 of each.
        sequences: file or folder below the job's input by sequence, where the caller named them.
        options: for ``SegmentOptions``.
    """

    id: str
    owner: str
    content_sha256: str
    label: str
    files: Sequence[Mapping[str, Any]]
    sequences: Mapping[str, str]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """A job as it stands in the table; times are seconds since 1970."""

    id: str
    owner: str
    state: State
    stage: str
    progress: float
    created: float
    started: float | None
    finished: float | None
    crashes: int
    erased: bool
    content_sha256: str
    label: str
    files: list[dict[str, Any]]
    sequences: dict[str, str]
    options: dict[str, Any]
    problem: dict[str, Any] | None
    summary: dict[str, Any] | None


@dataclass(frozen=True)
class Event:
    """Something that happened to a job: ``kind`` is ``"state"`` or ``"progress"``; numbers count from 1."""

    number: int
    at: float
    kind: str
    data: dict[str, Any]


def new_id() -> str:
    """An id that cannot be guessed; later ones sort after earlier ones."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


class Jobs:
    """All jobs.

    Args:
        engine: of ``open_database``.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._writing = engine.execution_options(writes=True)

    def add(self, new: NewJob, idempotency_key: str | None) -> Job:
        """Accept a job, or find the one that the same request made before.

        Raises:
            Problem: the key was used for another request.
        """
        request = (new.owner, idempotency_key)
        try:
            with self._writing.begin() as connection:
                if idempotency_key is not None:
                    connection.execute(
                        sa.insert(REQUESTS).values(
                            owner=new.owner, key=idempotency_key, content_sha256=new.content_sha256, job_id=new.id
                        )
                    )
                values = {**vars(new), "state": "queued", "stage": "waiting", "created": time.time()}
                connection.execute(sa.insert(JOBS).values(**values))
                _tell(connection, new.id, "state", {"state": "queued"})
        except sa.exc.IntegrityError:
            return self._earlier(new, request)
        return self.get(new.id)

    def _earlier(self, new: NewJob, request: tuple[str, str | None]) -> Job:
        with self._engine.connect() as connection:
            row = connection.execute(
                sa.select(REQUESTS).where(REQUESTS.c.owner == request[0], REQUESTS.c.key == request[1])
            ).one()
        if row.content_sha256 != new.content_sha256:
            raise Problem(
                "idempotency-key-reused",
                "This Idempotency-Key came before, with other files or options.",
                "Use a new key for each new request.",
            )
        return self.get(row.job_id)

    def get(self, job_id: str) -> Job:
        """One job.

        Raises:
            Problem: there is none of that id.
        """
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id)).one_or_none()
        if row is None:
            raise Problem("job-unknown", "There is no job of this id.", "List the jobs with GET /v1/studies.")
        return Job(**row._mapping)  # noqa: SLF001  # public in all but name

    def page(
        self, limit: int, before: str | None = None, owner: str | None = None, states: Sequence[str] = ()
    ) -> list[Job]:
        """At most ``limit`` jobs, the newest first, older than job ``before``; without those that were erased."""
        query = sa.select(JOBS).where(JOBS.c.erased.is_(False)).order_by(JOBS.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(JOBS.c.id < before)
        if owner is not None:
            query = query.where(JOBS.c.owner == owner)
        if states:
            query = query.where(JOBS.c.state.in_(states))
        with self._engine.connect() as connection:
            return [Job(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001

    def counts(self, owner: str | None = None) -> dict[str, int]:
        """Number of jobs in each state, erased ones included."""
        query = sa.select(JOBS.c.state, sa.func.count()).group_by(JOBS.c.state)
        if owner is not None:
            query = query.where(JOBS.c.owner == owner)
        with self._engine.connect() as connection:
            found = {row[0]: int(row[1]) for row in connection.execute(query)}
        return {state: found.get(state, 0) for state in (*ACTIVE, *TERMINAL)}

    def start(self, job_id: str) -> Job | None:
        """Mark a job as running and return it; None where it has ended. One that was running begins anew."""
        with self._writing.begin() as connection:
            job = connection.execute(sa.select(JOBS.c.state, JOBS.c.started).where(JOBS.c.id == job_id)).one_or_none()
            if job is None or job.state not in ACTIVE:
                return None
            started = job.started or time.time()
            changed = connection.execute(
                sa.update(JOBS)
                .where(JOBS.c.id == job_id, JOBS.c.state.in_(ACTIVE))
                .values(state="running", stage="starting", progress=0.0, started=started)
            )
            if not changed.rowcount:
                return None
            if job.state == "queued":
                _tell(connection, job_id, "state", {"state": "running"})
        return self.get(job_id)

    def progress(self, job_id: str, stage: str, share: float) -> bool:
        """Note how far a running job is; False where it does not run any more."""
        with self._writing.begin() as connection:
            values = {"stage": stage[:200], "progress": round(share, 4)}
            changed = connection.execute(
                sa.update(JOBS).where(JOBS.c.id == job_id, JOBS.c.state == "running").values(**values)
            )
            if changed.rowcount:
                _tell(connection, job_id, "progress", values)
            return bool(changed.rowcount)

    def is_active(self, job_id: str) -> bool:
        """Does it wait or run?"""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(JOBS.c.state).where(JOBS.c.id == job_id)).scalar() in ACTIVE

    def crashed(self, job_id: str) -> int:
        """Count a crash of the process that had the job; returns how many there were."""
        with self._writing.begin() as connection:
            connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(crashes=JOBS.c.crashes + 1))
            return int(connection.execute(sa.select(JOBS.c.crashes).where(JOBS.c.id == job_id)).scalar_one())

    def finish(
        self,
        job_id: str,
        state: State,
        *,
        problem: Mapping[str, Any] | None = None,
        summary: Mapping[str, Any] | None = None,
    ) -> bool:
        """End a job, once: False where it had ended before, and then nothing changes."""
        ended = time.time()
        values: dict[str, Any] = {"state": state, "stage": state, "finished": ended}
        values |= {"problem": problem, "summary": summary}
        if state == "succeeded":
            values["progress"] = 1.0
        with self._writing.begin() as connection:
            changed = connection.execute(
                sa.update(JOBS).where(JOBS.c.id == job_id, JOBS.c.state.in_(ACTIVE)).values(**values)
            )
            if changed.rowcount:
                _tell(connection, job_id, "state", {"state": state, **({"problem": problem} if problem else {})})
            return bool(changed.rowcount)

    def erase(self, job_id: str) -> None:
        """Forget all of a job but that it was there and how it ended."""
        with self._writing.begin() as connection:
            nothing: dict[str, Any] = {
                "label": "",
                "files": [],
                "sequences": {},
                "options": {},
                "content_sha256": "",
                "summary": None,
            }
            connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(erased=True, problem=None, **nothing))
            connection.execute(sa.delete(EVENTS).where(EVENTS.c.job_id == job_id))
            connection.execute(sa.delete(REQUESTS).where(REQUESTS.c.job_id == job_id))

    def events(self, job_id: str, after: int) -> list[Event]:
        """What happened after event number ``after``, in order."""
        query = sa.select(EVENTS).where(EVENTS.c.job_id == job_id, EVENTS.c.number > after).order_by(EVENTS.c.number)
        with self._engine.connect() as connection:
            return [Event(row.number, row.at, row.kind, row.data) for row in connection.execute(query)]

    def active(self, older_than: float) -> list[str]:
        """Ids of jobs that wait or run and were accepted before a time."""
        query = sa.select(JOBS.c.id).where(JOBS.c.state.in_(ACTIVE), JOBS.c.created < older_than)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def ended(self, before: float) -> list[str]:
        """Ids of jobs that ended before a time and are not erased."""
        query = sa.select(JOBS.c.id).where(JOBS.c.finished < before, JOBS.c.erased.is_(False))
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())


def _tell(connection: sa.Connection, job_id: str, kind: str, data: Mapping[str, Any]) -> None:
    """Write an event in the transaction of what happened; the job's row is locked by then, or new."""
    last = connection.execute(sa.select(sa.func.max(EVENTS.c.number)).where(EVENTS.c.job_id == job_id)).scalar()
    values = {"job_id": job_id, "number": (last or 0) + 1, "at": time.time(), "kind": kind, "data": dict(data)}
    connection.execute(sa.insert(EVENTS).values(**values))
