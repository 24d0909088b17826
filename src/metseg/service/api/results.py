"""Routes of results: files one by one or as a zip, and volumes by signed links."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, StreamingResponse

from metseg.pipeline.manifest import MANIFEST, file_sha256, read_manifest
from metseg.service.api.context import Reader, Service, ServiceHere, iso
from metseg.service.api.documents import ResultFile, ResultFiles, VolumeLink, VolumeLinks
from metseg.service.api.examples import PROBLEMS
from metseg.service.jobs import Job
from metseg.service.keys import Caller
from metseg.service.problems import Problem

router = APIRouter(prefix="/v1/studies/{job_id}", tags=["results"], responses=PROBLEMS)
volume_router = APIRouter(prefix="/v1/volumes", tags=["results"], responses=PROBLEMS)
_TYPES: Final = {
    ".gz": "application/gzip", ".json": "application/json", ".csv": "text/csv; charset=utf-8", ".png": "image/png",
    ".html": "text/html; charset=utf-8", ".pdf": "application/pdf", ".dcm": "application/dicom",
}  # fmt: skip
_BINARY: Final[dict[int | str, dict[str, object]]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
_ZIP: Final[dict[int | str, dict[str, object]]] = {
    200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
}
_OF_RESULT: Final[dict[str, Literal["segmentation", "lesions", "probability"]]] = {
    "segmentation.nii.gz": "segmentation",
    "lesions.nii.gz": "lesions",
    "probability.nii.gz": "probability",
}
_CHUNK: Final = 2**20
# A report is a page of ours, shown as a page of nobody's: no scripts, no requests, no forms.
_SANDBOX: Final = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:"


@router.get("/files", response_model=ResultFiles)
def list_files(job_id: str, service: ServiceHere, caller: Reader) -> ResultFiles:
    """The files of a result."""
    job = _succeeded(job_id, service, caller)
    here = f"/v1/studies/{job.id}"
    files = [
        ResultFile(
            name=name, bytes=path.stat().st_size, sha256=sha256, media_type=_media_type(name),
            href=f"{here}/files/{name}",
        )
        for name, (path, sha256) in _files(service, job).items()
    ]  # fmt: skip
    return ResultFiles(files=files, archive=f"{here}/archive")


@router.get("/files/{name}", response_class=FileResponse, responses=_BINARY)
def get_file(job_id: str, name: str, service: ServiceHere, caller: Reader) -> FileResponse:
    """One file of a result."""
    job = _succeeded(job_id, service, caller)
    found = _files(service, job).get(name)
    if found is None:
        raise _no_file(name)
    headers = {"Content-Security-Policy": _SANDBOX, "ETag": f'"{found[1]}"'}
    service.audit.note(caller.name, "read", job.id, file=name)
    return FileResponse(found[0], media_type=_media_type(name), headers=headers)


@router.get("/archive", response_class=StreamingResponse, responses=_ZIP)
def get_archive(job_id: str, service: ServiceHere, caller: Reader) -> StreamingResponse:
    """All files of a result, as a zip."""
    job = _succeeded(job_id, service, caller)
    paths = {name: path for name, (path, _) in _files(service, job).items()}
    headers = {"Content-Disposition": f'attachment; filename="metseg-{job.id}.zip"'}
    service.audit.note(caller.name, "read", job.id, file="archive")
    return StreamingResponse(_zipped(paths), media_type="application/zip", headers=headers)


@router.get("/volumes", response_model=VolumeLinks)
def list_volumes(job_id: str, service: ServiceHere, caller: Reader) -> VolumeLinks:
    """Images, masks and probability as NIfTI, for a viewer, by links that work for a short time without a key."""
    job = _succeeded(job_id, service, caller)
    links = []
    for name, path in _volumes(service, job.id).items():
        href, expires = service.signer.sign(f"/v1/volumes/{job.id}/{name}")
        image = name not in _OF_RESULT
        links.append(
            VolumeLink(
                name=name,
                role="image" if image else _OF_RESULT[name],
                sequence=name.removeprefix("image-").removesuffix(".nii.gz") if image else None,
                bytes=path.stat().st_size,
                href=service.settings.public_url.rstrip("/") + href,
                expires=iso(expires) or "",
            )
        )
    service.audit.note(caller.name, "linked", job.id)
    return VolumeLinks(volumes=links)


@volume_router.get("/{job_id}/{name}", response_class=FileResponse, responses=_BINARY)
def get_volume(
    job_id: str,
    name: str,
    request: Request,
    service: ServiceHere,
    expires: Annotated[int, Query(ge=0, lt=2**53)],
    signature: Annotated[str, Query(max_length=100)],
) -> FileResponse:
    """A volume, by a signed link. Ranges are served; pages of ``METSEG_APP_ORIGINS`` may read it in a browser."""
    service.signer.check(f"/v1/volumes/{job_id}/{name}", expires, signature)
    path = _volumes(service, job_id).get(name)
    if path is None:  # erased since
        raise _no_file(name)
    headers = {"Cache-Control": "private, no-store", "Vary": "Origin"}
    origin = request.headers.get("origin")
    if origin in service.settings.app_origins:
        headers |= {"Access-Control-Allow-Origin": origin, "Cross-Origin-Resource-Policy": "cross-origin"}
    return FileResponse(path, media_type="application/gzip", headers=headers)


def _succeeded(job_id: str, service: Service, caller: Caller) -> Job:
    job = service.job_for(job_id, caller)
    if job.state != "succeeded":
        raise Problem("not-finished", f"The job has no result: it is {job.state}.", "GET the job to see why.")
    return job


def _files(service: Service, job: Job) -> dict[str, tuple[Path, str]]:
    """Path and SHA-256 of each file, as the result's own manifest lists them; nothing else can be asked for."""
    folder = service.vault.result(job.id)
    manifest = read_manifest(folder)
    if manifest is None:
        raise Problem("internal-error", "The result is not where it should be.", "Send the study again.")
    names = {str(item["name"]): (folder / str(item["name"]), str(item["sha256"])) for item in manifest["outputs"]}
    return {**names, MANIFEST: (folder / MANIFEST, file_sha256(folder / MANIFEST))}


def _volumes(service: Service, job_id: str) -> dict[str, Path]:
    """Path of each volume that is there, by name; the images first."""
    images = sorted(service.vault.volumes(job_id).glob("image-*.nii.gz"))
    masks = (service.vault.result(job_id) / name for name in _OF_RESULT)
    return {path.name: path for path in (*images, *masks) if path.is_file()}


def _media_type(name: str) -> str:
    return _TYPES.get(Path(name).suffix, "application/octet-stream")


def _no_file(name: str) -> Problem:
    return Problem("file-unknown", f"There is no file {name[:80]!r} here.", "List the files of the job first.")


class _Pipe:
    """Where a zip is written, and taken away from at once."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        self._waiting += data
        return len(data)

    def flush(self) -> None:
        """Nothing to do."""

    def taken(self) -> bytes:
        data = bytes(self._waiting)
        self._waiting.clear()
        return data


def _zipped(paths: dict[str, Path]) -> Iterator[bytes]:
    """A zip of files as it is made; they are stored, since most are compressed already."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]  # only writes
        for name, path in paths.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o644 << 16
            entry.file_size = path.stat().st_size
            with path.open("rb") as source, archive.open(entry, "w") as target:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
                    yield pipe.taken()
    yield pipe.taken()
