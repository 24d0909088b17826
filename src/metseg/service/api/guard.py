"""What every request goes through before any route: is it from here, from a page that may ask, and not encoded."""

import asyncio
import json
import logging
import time
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metseg.service.api.context import Service
from metseg.service.problems import MEDIA_TYPE, Problem, problem_of
from metseg.service.settings import Settings, is_loopback

_LOG: Final = logging.getLogger(__name__)
_LINGER_S: Final = 5.0
_SAFE: Final = {"GET", "HEAD", "OPTIONS"}
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_DEFAULT_POLICY: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_BY_PROXY: Final = {"forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"}


class Guard:
    """ASGI middleware: refuses what must not pass, counts what does, and turns whatever goes wrong into a problem.

    Args:
        app: what follows.
        settings: of the service.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, heard_all = time.perf_counter(), 0, not _has_body(scope)

        async def heard() -> Message:
            nonlocal heard_all
            message = await receive()
            heard_all = heard_all or not message.get("more_body", False)
            return message

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": _with_ours(message.get("headers", []))}
                self._count(scope, status, time.perf_counter() - started)
            if message["type"] == "http.response.body" and status >= 400 and not heard_all:
                # A connection that is closed while the caller still sends takes the answer with it.
                await send({**message, "more_body": True})
                await _let_speak(heard)
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, heard, watched)
        except ClientDisconnect:
            _LOG.info("a caller went away in the middle of a request")
        except Exception as error:  # noqa: BLE001  # nobody gets a traceback
            problem = problem_of(error)
            if problem.code == "internal-error":
                _LOG.exception("a request met something unexpected")
            if not status:
                await _answer(problem, str(scope["path"]), watched)

    def _check(self, scope: Scope) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Problem("encoding-refused", "The body is compressed as a whole.", "Send files as they are.")
        if self._settings.auth == "none":
            _check_local(scope, headers, self._settings)
        origin = headers.get("origin")
        foreign = headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}
        if scope["method"] not in _SAFE and (foreign or (origin is not None and not _same(origin, headers))):
            raise Problem(
                "origin-refused",
                "A web page of another origin may not send anything to the service.",
                "Let the page's own server ask.",
            )

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        service = getattr(scope["app"].state, "service", None) if "app" in scope else None
        if isinstance(service, Service):
            route = getattr(scope.get("route"), "path", "none")
            service.metrics.request(scope["method"], route, status, seconds)


def _check_local(scope: Scope, headers: dict[str, str], settings: Settings) -> None:
    """Without keys, only this machine may ask, under its own name, and not by way of a proxy."""
    ends = [address[0] for address in (scope.get("client"), scope.get("server")) if address]
    if not all(is_loopback(end) for end in ends) or _BY_PROXY & set(headers):
        raise Problem(
            "authentication-required",
            "Without keys the service answers this machine only.",
            "Set METSEG_AUTH=keys and make a key with: metseg serve keys add NAME",
        )
    name = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    if not is_loopback(name) and name not in settings.allowed_hosts:
        raise Problem(
            "host-refused", "The service is not known by this name.", "Ask 127.0.0.1, or set METSEG_ALLOWED_HOSTS."
        )


def _has_body(scope: Scope) -> bool:
    names = {name: value for name, value in scope["headers"] if name in {b"content-length", b"transfer-encoding"}}
    return b"transfer-encoding" in names or names.get(b"content-length", b"0") != b"0"


async def _let_speak(receive: Receive) -> None:
    """Take what the caller still sends and throw it away, for a few seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            while (await receive()).get("more_body", False):
                pass


def _same(origin: str, headers: dict[str, str]) -> bool:
    return urlsplit(origin).netloc == headers.get("host", "")


def _with_ours(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    there = {name.lower() for name, _ in headers}
    return [*headers, *(pair for pair in (*_HEADERS, _DEFAULT_POLICY) if pair[0] not in there)]


async def _answer(problem: Problem, path: str, send: Send) -> None:
    body = json.dumps(problem.document(path)).encode()
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), "connection": "close"}
    headers |= {name.lower(): value for name, value in problem.headers().items()}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
