"""What the routes share: settings, tables, folders; and who asks."""

import re
import time
from dataclasses import dataclass
from typing import Annotated, Final

import sqlalchemy as sa
from fastapi import Depends, Header, Request

from metseg.service.audit import Audit
from metseg.service.durable import Enqueuer
from metseg.service.jobs import ACTIVE, Job, Jobs
from metseg.service.keys import LOCAL, Caller, Keys
from metseg.service.limits import RateLimiter
from metseg.service.metrics import Metrics
from metseg.service.problems import Problem
from metseg.service.settings import Settings
from metseg.service.signing import Signer
from metseg.service.upload import Caps
from metseg.service.vault import Vault

_JOB_ID: Final = re.compile(r"[0-9a-f]{32}")
_BUSY_RETRY_S: Final = 15


@dataclass(frozen=True, eq=False)
class Service:
    """All that a running API has."""

    settings: Settings
    engine: sa.Engine
    jobs: Jobs
    keys: Keys
    audit: Audit
    vault: Vault
    enqueuer: Enqueuer
    signer: Signer
    limiter: RateLimiter
    metrics: Metrics

    @property
    def caps(self) -> Caps:
        """Of one upload."""
        it = self.settings
        return Caps(it.upload_bytes, it.upload_files, it.upload_stall_seconds, it.upload_bytes_per_second)

    def job_for(self, job_id: str, caller: Caller) -> Job:
        """A job that the caller may see.

        Raises:
            Problem: there is none, or it was erased.
        """
        if not _JOB_ID.fullmatch(job_id):
            raise Problem("job-unknown", "There is no job of this id.", "List the jobs with GET /v1/studies.")
        job = self.jobs.get(job_id)
        if not caller.sees(job.owner):  # said as if it were not there, so that nobody can ask around
            raise Problem("job-unknown", "There is no job of this id.", "List the jobs with GET /v1/studies.")
        if job.erased:
            raise Problem("job-erased", "The job was erased, its files too.", "Send the study again.")
        return job

    def check_queue(self, caller: Caller) -> None:
        """Refuse more than can be worked off.

        Raises:
            Problem: too many jobs wait or run, of all or of this caller.
        """
        for owner, limit in ((None, self.settings.queue_limit), (caller.name, caller.queue_limit)):
            if limit is None:
                continue
            counts = self.jobs.counts(owner)
            if sum(counts[state] for state in ACTIVE) >= limit:
                raise Problem(
                    "queue-full", f"{limit} studies wait or run already.", "Send it again later.", _BUSY_RETRY_S
                )


def service_of(request: Request) -> Service:
    """The service that the request reached.

    Raises:
        Problem: it is still starting.
    """
    found = getattr(request.app.state, "service", None)
    if not isinstance(found, Service):
        raise Problem("not-ready", "The service is starting.", "Ask again in a few seconds.", 2)
    return found


def caller_of(request: Request, authorization: Annotated[str | None, Header(include_in_schema=False)] = None) -> Caller:
    """Who asks, once the request is counted.

    Raises:
        Problem: no key, a wrong one, or too many requests.
    """
    service = service_of(request)
    caller = LOCAL
    if service.settings.auth == "keys":
        scheme, _, token = (authorization or "").partition(" ")
        found = service.keys.caller(token.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise Problem(
                "authentication-required",
                "The request came without a valid key.",
                "Send the header Authorization: Bearer KEY; metseg serve keys add NAME makes one.",
            )
        caller = found
    service.limiter.take(caller)
    return caller


class Needs:
    """A dependency that asks for a scope.

    Args:
        scope: out of ``metseg.service.keys.SCOPES``.
    """

    def __init__(self, scope: str) -> None:
        self._scope = scope

    def __call__(self, caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
        """The caller, who has the scope.

        Raises:
            Problem: the key lacks it.
        """
        if self._scope not in caller.scopes:
            raise Problem("permission-denied", f"This key lacks the scope {self._scope}.", "Use another key.")
        return caller


ServiceHere = Annotated[Service, Depends(service_of)]
Reader = Annotated[Caller, Depends(Needs("read"))]
Submitter = Annotated[Caller, Depends(Needs("submit"))]
Eraser = Annotated[Caller, Depends(Needs("erase"))]
Watcher = Annotated[Caller, Depends(Needs("metrics"))]


def iso(at: float | None) -> str | None:
    """A time as ISO 8601 in UTC, to the millisecond."""
    if at is None:
        return None
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
    return f"{whole}.{int(at % 1 * 1000):03d}Z"
