"""The application: routes, guard, errors as problems, and what starts and ends with it."""

import logging
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from metseg import __version__
from metseg.core.errors import MetsegError
from metseg.service.api import about, events, results, stow, studies
from metseg.service.api.context import Service
from metseg.service.api.documents import ProblemDocument
from metseg.service.api.guard import Guard
from metseg.service.audit import Audit
from metseg.service.durable import Enqueuer, prepare_durable
from metseg.service.housekeeping import workers_alive
from metseg.service.jobs import Jobs
from metseg.service.keys import Keys
from metseg.service.limits import RateLimiter
from metseg.service.metrics import Metrics
from metseg.service.problems import MEDIA_TYPE, Problem, problem_of
from metseg.service.settings import Settings
from metseg.service.signing import Signer
from metseg.service.supervisor import Supervisor, worker_command
from metseg.service.tables import open_database
from metseg.service.vault import Vault

_OF_STATUS: Final = {404: "not-found", 405: "method-not-allowed"}
_ABOUT: Final = (
    "Find, outline and measure brain metastases on MRI and CT. Research software: not a medical device, not for "
    "diagnosis or treatment decisions."
)


def create_app(settings: Settings) -> FastAPI:
    """The application; what it needs on the disk is made when it starts.

    Args:
        settings: of the service.
    """
    app = FastAPI(
        title="metseg", version=__version__, description=_ABOUT, docs_url=None, redoc_url=None, lifespan=_life(settings)
    )
    for router in (
        studies.router, events.router, results.router, results.volume_router, stow.router, about.router,
    ):  # fmt: skip
        app.include_router(router)
    for kind in (Problem, MetsegError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _explain)
    app.add_middleware(Guard, settings=settings)
    _describe(app)
    return app


def open_service(settings: Settings) -> Service:
    """Tables, folders and queue, made where they are missing."""
    engine = open_database(settings)
    prepare_durable(settings)
    jobs, vault = Jobs(engine), Vault(settings.data_dir)

    def looked_up() -> dict[str, float]:
        free = shutil.disk_usage(vault.root).free
        return {"metseg_disk_free_bytes": free, "metseg_workers": workers_alive(engine)}

    return Service(
        settings=settings,
        engine=engine,
        jobs=jobs,
        keys=Keys(engine),
        audit=Audit(engine),
        vault=vault,
        enqueuer=Enqueuer(settings),
        signer=Signer(settings.data_dir, settings.link_seconds),
        limiter=RateLimiter(settings.rate_per_minute),
        metrics=Metrics(jobs.counts, looked_up),
    )


def _life(settings: Settings) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        logging.getLogger("dbos").setLevel(logging.WARNING)
        service = await run_in_threadpool(open_service, settings)
        app.state.service = service
        supervisor = Supervisor(settings, {"worker": worker_command()} if settings.start_worker else {})
        supervisor.start()
        try:
            yield
        finally:
            supervisor.stop()
            service.enqueuer.close()
            service.engine.dispose()

    return life


async def _explain(request: Request, error: Exception) -> JSONResponse:
    """Any error as a problem document."""
    problem = _problem(error)
    headers = problem.headers()
    if problem.status in {408, 413}:
        headers["Connection"] = "close"  # the rest of the body is not waited for
    document = problem.document(request.url.path)
    return JSONResponse(document, problem.status, headers=headers, media_type=MEDIA_TYPE)


def _problem(error: Exception) -> Problem:
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Problem("malformed-request", f"{where}: {first['msg']}.", "See /openapi.json.")
    if isinstance(error, HTTPException):
        code = _OF_STATUS.get(error.status_code, "malformed-request")
        return Problem(code, f"{error.detail}.", "See /openapi.json.")
    return problem_of(error)


def _describe(app: FastAPI) -> None:
    """Add the problem's schema to the OpenAPI document, and take FastAPI's own error out of it."""
    plain: Callable[[], dict[str, Any]] = app.openapi

    def described() -> dict[str, Any]:
        document = plain()
        schemas = document["components"]["schemas"]
        schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{}, {"key": []}]
        return document

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way
