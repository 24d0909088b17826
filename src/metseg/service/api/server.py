"""The process of the API: uvicorn with the bounds of this service. Run as ``python -m metseg.service.api.server``."""

import asyncio
import logging
import sys
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from metseg.service.api.app import create_app
from metseg.service.settings import read_settings
from metseg.service.worker import WITH_PARENT, end_with_parent

_HEADERS_S: Final = 15.0
_IDLE_S: Final = 20
_CONNECTIONS: Final = 500


class PromptProtocol(H11Protocol):
    """Cuts off who opens a connection and does not send the head of a request within 15 seconds."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._waiting = self.loop.call_later(_HEADERS_S, self._give_up)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self._waiting.cancel()
        self._waiting = self.loop.call_later(_HEADERS_S, self._give_up)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._waiting.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle  # None until a head has come, whatever its type says
        if cycle is None or cycle.response_complete:
            self.transport.close()


def config(**more: Any) -> uvicorn.Config:
    """How the API is served, by the settings of the environment."""
    settings = read_settings()
    return uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        http=PromptProtocol,
        ws="none",
        log_level="warning",
        access_log=False,  # paths hold ids of jobs; the audit log says who asked what
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE_S,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=5,
        **more,
    )


def main() -> None:
    """Serve; with ``--with-parent`` the process ends when its standard input does."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s api: %(message)s")
    if WITH_PARENT in sys.argv:
        end_with_parent()
    uvicorn.Server(config()).run()


if __name__ == "__main__":
    main()
