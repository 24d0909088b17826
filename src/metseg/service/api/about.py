"""Routes about the service itself: is it alive, is it ready, numbers, models, limits."""

from typing import Final

import sqlalchemy as sa
from fastapi import APIRouter, Response

from metseg import __version__
from metseg.config.options import FORMATS
from metseg.engines.registry import BUNDLE_ENGINES
from metseg.service.api.context import Reader, ServiceHere, Watcher
from metseg.service.api.documents import Health, Models, ServiceDocument, model_document
from metseg.service.api.examples import PROBLEMS
from metseg.service.housekeeping import workers_alive
from metseg.service.options import CHOICES, models
from metseg.service.problems import Problem

router = APIRouter(tags=["service"], responses=PROBLEMS)
_TEXT: Final[dict[int | str, dict[str, object]]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


@router.get("/healthz", response_model=Health)
async def alive() -> Health:
    """The process answers."""
    return Health(status="alive")


@router.get("/readyz", response_model=Health)
def ready(service: ServiceHere) -> Health:
    """Studies can be taken and worked on: the database answers, the disk has room, a worker lives."""
    try:
        workers = workers_alive(service.engine)
    except sa.exc.SQLAlchemyError as error:
        raise Problem("not-ready", "The database does not answer.", "Look at the service's log.", 5) from error
    service.vault.check_room(0, service.settings.free_bytes)
    if not workers:
        raise Problem("not-ready", "No worker is running.", "Start one: metseg serve does.", 5)
    return Health(status="ready", workers=workers)


@router.get("/metrics", response_class=Response, responses=_TEXT)
def metrics(service: ServiceHere, caller: Watcher) -> Response:  # noqa: ARG001  # asked for its scope
    """Numbers for Prometheus."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/v1/models", response_model=Models)
def list_models(service: ServiceHere, caller: Reader) -> Models:  # noqa: ARG001  # asked for its scope
    """The models on offer, with their operating points."""
    from metseg.engines.catalogue import DEFAULT_BUNDLES

    found = models(service.settings) if service.settings.engine in BUNDLE_ENGINES else {}
    default = {str(modality): name for modality, name in DEFAULT_BUNDLES.items()} if found else {}
    return Models(models=[model_document(bundle.card) for bundle in found.values()], default=default)


@router.get("/v1/service", response_model=ServiceDocument)
def about(service: ServiceHere, caller: Reader) -> ServiceDocument:
    """Version, who the caller is, and what may be sent."""
    it = service.settings
    return ServiceDocument(
        version=__version__,
        caller=caller.name,
        scopes=sorted(caller.scopes),
        upload_bytes=it.upload_bytes,
        upload_files=it.upload_files,
        formats=list(FORMATS),
        options=list(CHOICES),
        retention_days=it.retention_days,
    )
