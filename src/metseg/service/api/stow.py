"""STOW-RS (DICOM PS3.18, 10.5): DICOM files come in by ``POST /dicom-web/studies`` and become a job.

One request is one study. The answer is the standard's, with the job's address in ``Location``.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from metseg.service.api.context import Service, ServiceHere, Submitter
from metseg.service.api.examples import PROBLEMS
from metseg.service.api.studies import accept, boundary_of, incoming
from metseg.service.intake import Namer
from metseg.service.jobs import Job
from metseg.service.keys import Caller
from metseg.service.problems import Problem
from metseg.service.upload import Form, Receiver, receive

router = APIRouter(prefix="/dicom-web", tags=["dicom-web"], responses=PROBLEMS)
_MEDIA_TYPE: Final = "application/dicom+json"
# Attributes of the answer, PS3.18 table 10.5.3-1; failure reasons of PS3.18 annex I.
_FAILED, _REASON, _REFERENCED = "00081198", "00081197", "00081199"
_CLASS, _INSTANCE = "00081150", "00081155"
_CANNOT_UNDERSTAND: Final = 0xC000
_IDENTITY: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID")
_BODY: Final = {
    "required": True,
    "content": {
        'multipart/related; type="application/dicom"': {"schema": {"type": "string", "format": "binary"}},
    },
}


@router.post("/studies", status_code=200, openapi_extra={"requestBody": _BODY})
async def store(request: Request, service: ServiceHere, caller: Submitter) -> Response:
    """Store the instances of one study and queue it."""
    return await _store(request, service, caller, None)


@router.post("/studies/{study_uid}", status_code=200, openapi_extra={"requestBody": _BODY})
async def store_study(study_uid: str, request: Request, service: ServiceHere, caller: Submitter) -> Response:
    """The same; instances of another study are refused."""
    return await _store(request, service, caller, study_uid)


async def _store(request: Request, service: Service, caller: Caller, study_uid: str | None) -> Response:
    boundary = boundary_of(request, b"multipart/related")
    with incoming(request, service, caller) as folder:
        receiver = Receiver(boundary, folder, Namer().name, service.caps, related=True)
        form = await receive(request.stream(), receiver, service.caps)
        return await run_in_threadpool(_kept, service, caller, form, folder, study_uid)


def _kept(service: Service, caller: Caller, form: Form, folder: Path, study_uid: str | None) -> Response:
    if not form.files:
        raise Problem("input-refused", "The request holds no instance.", "Send parts of type application/dicom.")
    identities = {file: _identity(file.path) for file in form.files}
    good = {file: it for file, it in identities.items() if it and study_uid in {None, it["StudyInstanceUID"]}}
    if len({it["StudyInstanceUID"] for it in good.values()}) > 1:
        raise Problem("several-studies", "The instances belong to several studies.", "Send one study a request.")
    refused = [file for file in form.files if file not in good]
    for file in refused:
        file.path.unlink()
    if not good:
        return _answer(None, [], [identities[file] for file in refused])
    job = accept(service, caller, Form(list(good), {}), folder)
    return _answer(job, good.values(), [identities[file] for file in refused])


def _answer(
    job: Job | None, stored: Iterable[Mapping[str, str]], refused: Iterable[Mapping[str, str] | None]
) -> Response:
    document: dict[str, Any] = {}
    if kept := [_reference(each) for each in stored]:
        document[_REFERENCED] = {"vr": "SQ", "Value": kept}
    if failed := [{**_reference(each or {}), _REASON: {"vr": "US", "Value": [_CANNOT_UNDERSTAND]}} for each in refused]:
        document[_FAILED] = {"vr": "SQ", "Value": failed}
    status = 409 if job is None else 202 if failed else 200
    headers = {} if job is None else {"Location": f"/v1/studies/{job.id}"}
    return JSONResponse(document, status, headers=headers, media_type=_MEDIA_TYPE)


def _reference(identity: Mapping[str, str]) -> dict[str, Any]:
    pairs = ((_CLASS, identity.get("SOPClassUID")), (_INSTANCE, identity.get("SOPInstanceUID")))
    return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in pairs if uid}


def _identity(path: Path) -> dict[str, str] | None:
    """The UIDs of an instance; None for what is no whole DICOM file."""
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_IDENTITY))
        found = {name: str(header.get(name, "")) for name in _IDENTITY}
    except Exception:  # noqa: BLE001  # pydicom raises whatever a broken file makes it meet
        return None
    return found if all(found.values()) else None
