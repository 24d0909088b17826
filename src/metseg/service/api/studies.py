"""Routes of jobs: send a study, look at jobs, cancel and erase them."""

import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from python_multipart.multipart import parse_options_header

from metseg.core.study import SEQUENCES
from metseg.io.case_names import stem
from metseg.service.api.context import Eraser, Reader, Service, ServiceHere, Submitter
from metseg.service.api.documents import JobDocument, JobPage, job_document
from metseg.service.api.examples import JOB_EXAMPLE, PROBLEMS
from metseg.service.housekeeping import erase_job
from metseg.service.intake import Namer, Received, content_hash, find_case, named_parts
from metseg.service.jobs import Job, NewJob, new_id
from metseg.service.keys import Caller
from metseg.service.options import CHOICES, chosen_options
from metseg.service.problems import Problem
from metseg.service.upload import Form, Receiver, receive, too_large
from metseg.service.vault import no_room

router = APIRouter(prefix="/v1/studies", tags=["studies"], responses=PROBLEMS)
_LOG: Final = logging.getLogger(__name__)
_LABEL: Final = "label"
_LONGEST_LABEL: Final = 200
_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")
_FILE: Final = {"type": "string", "format": "binary"}
_BODY: Final = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "files": {"type": "array", "items": _FILE, "description": "NIfTI, MHA, NRRD, DICOM, or a zip."},
                    **{name: {"type": "array", "items": _FILE} for name in SEQUENCES},
                    **{name: {"type": "string"} for name in (_LABEL, *CHOICES)},
                },
            },
            "encoding": {"files": {"contentType": "application/octet-stream"}},
        }
    },
}
State = Literal["queued", "running", "succeeded", "failed", "cancelled"]


@router.post(
    "",
    status_code=202,
    response_model=JobDocument,
    openapi_extra={"requestBody": _BODY},
    responses={202: {"content": {"application/json": {"example": JOB_EXAMPLE}}}},
)
async def send_study(
    request: Request,
    response: Response,
    service: ServiceHere,
    caller: Submitter,
    idempotency_key: Annotated[str | None, Header(description="The same key means the same request.")] = None,
) -> JobDocument:
    """Send one study; it is kept safe and queued when the answer comes."""
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        raise Problem("malformed-request", "The Idempotency-Key is not 1 to 200 visible ASCII signs.", "Use a UUID.")
    boundary = boundary_of(request, b"multipart/form-data")
    with incoming(request, service, caller) as folder:
        receiver = Receiver(boundary, folder, Namer().name, service.caps)
        form = await receive(request.stream(), receiver, service.caps)
        job = await run_in_threadpool(accept, service, caller, form, folder, idempotency_key)
    response.headers["Location"] = f"/v1/studies/{job.id}"
    return job_document(job)


@router.get("", response_model=JobPage)
def list_studies(
    service: ServiceHere,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[str | None, Query(pattern="^[0-9a-f]{32}$", description="Of the link next.")] = None,
    state: Annotated[list[State] | None, Query()] = None,
) -> JobPage:
    """The caller's jobs, the newest first."""
    owner = None if "all" in caller.scopes else caller.name
    jobs = service.jobs.page(limit + 1, before, owner, state or ())
    more = "".join(f"&state={each}" for each in state or ())
    following = f"/v1/studies?limit={limit}&before={jobs[limit - 1].id}{more}" if len(jobs) > limit else None
    return JobPage(studies=[job_document(job) for job in jobs[:limit]], next=following)


@router.get("/{job_id}", response_model=JobDocument)
def get_study(job_id: str, service: ServiceHere, caller: Reader) -> JobDocument:
    """One job."""
    return job_document(service.job_for(job_id, caller))


@router.post("/{job_id}/cancel", response_model=JobDocument)
def cancel_study(job_id: str, service: ServiceHere, caller: Submitter) -> JobDocument:
    """Stop a job that waits or runs."""
    job = service.job_for(job_id, caller)
    if not service.jobs.finish(job.id, "cancelled"):
        raise Problem("already-finished", f"The job has {service.jobs.get(job.id).state} already.", "Erase it instead.")
    service.audit.note(caller.name, "cancelled", job.id, content_sha256=job.content_sha256)
    return job_document(service.jobs.get(job.id))


@router.delete("/{job_id}", status_code=204)
def erase_study(job_id: str, service: ServiceHere, caller: Eraser) -> Response:
    """Erase a job and all its files; one that waits or runs is cancelled first."""
    job = service.job_for(job_id, caller)
    service.jobs.finish(job.id, "cancelled")
    erase_job(job.id, service.jobs, service.vault)
    service.audit.note(caller.name, "erased", job.id, content_sha256=job.content_sha256)
    return Response(status_code=204)


def boundary_of(request: Request, wanted: bytes) -> bytes:
    """The boundary of a multipart body.

    Raises:
        Problem: the body is of another kind, or has none.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != wanted:
        raise Problem("media-type-refused", f"The body must be {wanted.decode()}.", "See docs/reference/service.md.")
    boundary = options.get(b"boundary", b"")
    if not boundary or len(boundary) > 200:
        raise Problem("malformed-request", "The Content-Type names no usable boundary.", "Let the client make it.")
    return boundary


@contextmanager
def incoming(request: Request, service: Service, caller: Caller) -> Iterator[Path]:
    """A folder for an upload that there is room for; it is gone afterwards, unless a job has it.

    Raises:
        Problem: too large, no room on the disk, too many jobs.
    """
    service.check_queue(caller)
    length = request.headers.get("content-length", "")
    size = int(length) if length.isascii() and length.isdigit() else 0
    if size > service.caps.bytes:
        raise too_large(service.caps)
    service.vault.check_room(size, service.settings.free_bytes)
    folder = service.vault.new_upload()
    try:
        yield folder
    except OSError as error:
        if error.errno in {ENOSPC, EDQUOT}:
            raise no_room() from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def accept(service: Service, caller: Caller, form: Form, folder: Path, key: str | None = None) -> Job:
    """Make an upload a job: looked through, kept safe, written down, queued.

    Raises:
        MetsegError: an option is wrong, or there is no study in it.
        Problem: there are several, or the idempotency key was used for another request.
    """
    options = chosen_options({name: text for name, text in form.text.items() if name != _LABEL}, service.settings)
    sequences = named_parts(form.files, folder)
    find_case(folder, sequences)
    new = NewJob(
        id=new_id(),
        owner=caller.name,
        content_sha256=content_hash(form.files, sequences, options),
        label=_label(form),
        files=[_shown(file) for file in form.files],
        sequences=sequences,
        options=options,
    )
    service.vault.adopt(folder, new.id, {file.path: file.sha256 for file in form.files})
    try:
        job = service.jobs.add(new, key)
    except BaseException:
        service.vault.erase(new.id, [file.sha256 for file in form.files])
        raise
    if job.id != new.id:
        service.vault.erase(new.id, [file.sha256 for file in form.files])
        return job
    size = sum(file.size for file in form.files)
    service.audit.note(caller.name, "accepted", job.id, content_sha256=job.content_sha256, bytes=size)
    service.metrics.uploaded(size)
    try:
        service.enqueuer.enqueue(job.id)
    except Exception:  # noqa: BLE001  # it is accepted, whatever the queue says
        _LOG.exception("job %s could not be queued now; the worker will see that it is", job.id)
    return job


def _label(form: Form) -> str:
    names = (stem(file.name) for file in form.files if file.name)
    return _printable(form.text.get(_LABEL, "").strip() or next(names, "study"))


def _shown(file: Received) -> dict[str, Any]:
    name = _printable(file.name or file.path.name)
    return {"name": name, "field": file.field, "bytes": file.size, "sha256": file.sha256}


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)[:_LONGEST_LABEL]
