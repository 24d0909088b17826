"""Server-sent events: what happens to a job, as it happens; whoever was cut off goes on where they were."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from metseg.service.api.context import Reader, Service, ServiceHere, iso
from metseg.service.api.examples import PROBLEMS
from metseg.service.jobs import TERMINAL, Event

router = APIRouter(prefix="/v1/studies/{job_id}", tags=["studies"], responses=PROBLEMS)
_LOOK_S: Final = 0.4
_HEARTBEAT_S: Final = 15.0
_STREAM: Final[dict[int | str, dict[str, object]]] = {200: {"content": {"text/event-stream": {}}}}


@router.get("/events", response_class=StreamingResponse, responses=_STREAM)
def follow(
    job_id: str,
    service: ServiceHere,
    caller: Reader,
    last_event_id: Annotated[str | None, Header(description="Number of the last event seen.")] = None,
    after: Annotated[int, Query(ge=0, lt=2**31, description="The same, for clients that cannot set headers.")] = 0,
) -> StreamingResponse:
    """All events of a job from the first, or from ``Last-Event-ID``; the stream ends with the job."""
    job = service.job_for(job_id, caller)
    given = last_event_id or ""
    start = int(given) if given.isascii() and given.isdigit() and len(given) < 10 else after
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(service, job.id, start), media_type="text/event-stream", headers=headers)


async def _stream(service: Service, job_id: str, seen: int) -> AsyncIterator[str]:
    spoke = time.monotonic()
    yield "retry: 2000\n\n"
    while True:
        # The state first: an event that ends a job and is missed now would else never be sent.
        ended = not await run_in_threadpool(service.jobs.is_active, job_id)
        for event in await run_in_threadpool(service.jobs.events, job_id, seen):
            seen, spoke = event.number, time.monotonic()
            yield _written(event)
            if event.data.get("state") in TERMINAL:
                return
        if ended:
            return
        if time.monotonic() - spoke > _HEARTBEAT_S:
            spoke = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(_LOOK_S)


def _written(event: Event) -> str:
    data = json.dumps({**event.data, "at": iso(event.at)})
    return f"id: {event.number}\nevent: {event.kind}\ndata: {data}\n\n"
