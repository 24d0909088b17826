"""What the API answers, as types: they are the OpenAPI schema."""

from typing import Any, Literal

from pydantic import Field

from metseg.core.options import Options
from metseg.engines.base import ModelCard
from metseg.service.api.context import iso
from metseg.service.jobs import Job


class ProblemDocument(Options):
    """RFC 9457, with a code and a hint."""

    type: str = Field(examples=["urn:metseg:problem:input-refused"])
    title: str
    status: int
    detail: str
    code: str = Field(examples=["input-refused"])
    hint: str = ""
    instance: str = ""


class SentFile(Options):
    """A file that was sent."""

    name: str
    field: str
    bytes: int
    sha256: str


class Summary(Options):
    """What was found."""

    model: str | None
    lesions: int | None
    volume_mm3: float | None
    warnings: list[str]


class JobDocument(Options):
    """A job."""

    id: str = Field(examples=["0193f0c1a2b3c4d5e6f708192a3b4c5d"])
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    stage: str = Field(description="What is done now, in a few words.")
    progress: float = Field(description="0 … 1.")
    created: str = Field(description="ISO 8601, UTC.")
    started: str | None
    finished: str | None
    owner: str
    label: str = Field(description="To show; erased with the job.")
    content_sha256: str = Field(description="Over files, their parts and the options.")
    files: list[SentFile]
    options: dict[str, Any]
    problem: ProblemDocument | None = Field(description="Why it failed.")
    summary: Summary | None = Field(description="What was found, once it succeeded.")
    links: dict[str, str]


class JobPage(Options):
    """Jobs, the newest first."""

    studies: list[JobDocument]
    next: str | None = Field(description="Link to the next page; null on the last.")


class ResultFile(Options):
    """A file of a result."""

    name: str
    bytes: int
    sha256: str
    media_type: str
    href: str


class ResultFiles(Options):
    """The files of a result."""

    files: list[ResultFile]
    archive: str


class VolumeLink(Options):
    """A volume for a viewer, with a signed link."""

    name: str
    role: Literal["image", "segmentation", "lesions", "probability"]
    sequence: str | None
    bytes: int
    href: str = Field(description="Works without a key until it expires.")
    expires: str


class VolumeLinks(Options):
    """The volumes of a result, all on one grid."""

    volumes: list[VolumeLink]


class PointDocument(Options):
    """An operating point of a model."""

    name: str
    threshold: float | None
    sensitivity: float | None = None
    fp_per_patient: float | None = None
    measured_on: str | None = None


class ModelDocument(Options):
    """A model."""

    name: str
    version: str
    sha256: str
    modality: str
    sequences: list[str]
    operating_points: list[PointDocument]
    default_operating_point: str
    limits: list[str]
    intended_use: str


class Models(Options):
    """The models on offer."""

    models: list[ModelDocument]
    default: dict[str, str] = Field(description="Which one a study gets by its modality, if none is chosen.")


class ServiceDocument(Options):
    """What the service is, and what the caller may do."""

    version: str
    caller: str
    scopes: list[str]
    upload_bytes: int
    upload_files: int
    formats: list[str]
    options: list[str]
    retention_days: float


class Health(Options):
    """Alive, or ready."""

    status: Literal["alive", "ready"]
    workers: int | None = None


def job_document(job: Job) -> JobDocument:
    """A job, as the API tells it."""
    here = f"/v1/studies/{job.id}"
    links = {"self": here, "events": f"{here}/events"}
    if job.state in {"queued", "running"}:
        links["cancel"] = f"{here}/cancel"
    if job.state == "succeeded":
        links |= {name: f"{here}/{name}" for name in ("files", "archive", "volumes")}
    return JobDocument.model_validate(
        {
            "id": job.id,
            "state": job.state,
            "stage": job.stage,
            "progress": job.progress,
            "created": iso(job.created),
            "started": iso(job.started),
            "finished": iso(job.finished),
            "owner": job.owner,
            "label": job.label,
            "content_sha256": job.content_sha256,
            "files": job.files,
            "options": job.options,
            "problem": job.problem,
            "summary": job.summary,
            "links": links,
        }
    )


def model_document(card: ModelCard) -> ModelDocument:
    """A model, as the API tells it."""
    points = []
    for name, point in card.operating_points.items():
        plain = point.model_dump(mode="json")
        known = {key: plain[key] for key in PointDocument.model_fields if plain.get(key) not in (None, "")}
        points.append(PointDocument.model_validate({"threshold": None, **known, "name": name}))
    return ModelDocument(
        name=card.name,
        version=card.version,
        sha256=card.sha256,
        modality=card.modality,
        sequences=list(card.sequences),
        operating_points=points,
        default_operating_point=card.default_operating_point,
        limits=list(card.limits),
        intended_use=card.intended_use,
    )
