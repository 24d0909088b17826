"""The service for Python programs, the app among them: typed, small, on httpx2. Errors come as ``ServiceError``."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx2

from metseg.core.errors import MetsegError

FILES: Final = "files"
Content = bytes | BufferedIOBase  # open files, io.BytesIO, what Streamlit gives


class ServiceError(MetsegError):
    """The service refused, or could not be reached.

    Args:
        message: one sentence.
        hint: what to do about it.
        code: of the problem document; ``"unreachable"`` where nothing answered.
        status: of HTTP; 0 where nothing answered.
        retry_after_s: when to come again, where the service says so.
    """

    def __init__(
        self, message: str, *, hint: str = "", code: str = "", status: int = 0, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.code, self.status, self.retry_after_s = code, status, retry_after_s


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job; ``kind`` is ``"state"`` or ``"progress"``."""

    number: int
    kind: str
    data: dict[str, Any]


class Client:
    """A connection to the service; a context manager.

    Args:
        url: of the service: ``"http://127.0.0.1:8000"``.
        key: API key, where the service wants one.
        timeout_s: longest silence.
        transport: of httpx2, for tests.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float = 30.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # What the environment says of proxies does not concern a service in the house.
        self._http = httpx2.Client(
            base_url=url, headers=headers, timeout=timeout_s, transport=transport, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def about(self) -> dict[str, Any]:
        """What the service is and what may be sent."""
        return self._json("GET", "/v1/service")

    def models(self) -> dict[str, Any]:
        """The models on offer."""
        return self._json("GET", "/v1/models")

    def submit(
        self,
        files: Sequence[Path | tuple[str, Content]] | Mapping[str, Path | tuple[str, Content]],
        *,
        options: Mapping[str, object] | None = None,
        label: str = "",
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Send one study; returns the job.

        Args:
            files: paths, or names with contents or open files; by sequence (``{"t1c": …}``) where the sequences are
                known.
            options: as ``GET /v1/service`` lists them.
            label: to show; by default the name of the first file.
            idempotency_key: a sign of this request, so that it can be sent again without a second job.

        Raises:
            ServiceError: the service refused.
        """
        parts = list(files.items()) if isinstance(files, Mapping) else [(FILES, file) for file in files]
        data = {name: _text(value) for name, value in {**(options or {}), "label": label}.items() if value is not None}
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        with ExitStack() as stack:
            opened = [
                (field, (file.name, stack.enter_context(file.open("rb"))) if isinstance(file, Path) else file)
                for field, file in parts
            ]
            return self._json("POST", "/v1/studies", data=data, files=opened, headers=headers)

    def job(self, job_id: str) -> dict[str, Any]:
        """One job."""
        return self._json("GET", f"/v1/studies/{job_id}")

    def jobs(self, *, limit: int = 50, page: str | None = None, states: Sequence[str] = ()) -> dict[str, Any]:
        """A page of jobs, the newest first; ``page`` is ``next`` of the page before."""
        if page is not None:
            return self._json("GET", page)
        return self._json("GET", "/v1/studies", params={"limit": limit, "state": list(states)})

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Stop a job."""
        return self._json("POST", f"/v1/studies/{job_id}/cancel")

    def erase(self, job_id: str) -> None:
        """Erase a job and its files."""
        self._request("DELETE", f"/v1/studies/{job_id}")

    def events(self, job_id: str, after: int = 0) -> Iterator[JobEvent]:
        """What happens to a job, until it ends or the connection does; go on with the last number as ``after``.

        Raises:
            ServiceError: the service refused, or the connection broke.
        """
        headers = {"Last-Event-ID": str(after)} if after else {}
        with _told(), self._http.stream("GET", f"/v1/studies/{job_id}/events", headers=headers) as response:
            if response.is_error:
                response.read()
                raise _error_of(response)
            fields: dict[str, str] = {}
            for line in response.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                elif "data" in fields:
                    yield JobEvent(int(fields["id"]), fields["event"], json.loads(fields["data"]))
                    fields = {}

    def files(self, job_id: str) -> dict[str, Any]:
        """The files of a result."""
        return self._json("GET", f"/v1/studies/{job_id}/files")

    def read(self, job_id: str, name: str) -> bytes:
        """One file of a result."""
        return self._request("GET", f"/v1/studies/{job_id}/files/{name}").content

    def archive(self, job_id: str) -> bytes:
        """All files of a result as a zip."""
        return self._request("GET", f"/v1/studies/{job_id}/archive").content

    def volumes(self, job_id: str) -> list[dict[str, Any]]:
        """The volumes of a result, with signed links."""
        return list(self._json("GET", f"/v1/studies/{job_id}/volumes")["volumes"])

    def volume(self, link: Mapping[str, Any]) -> bytes:
        """One of the volumes that ``volumes`` lists."""
        return self._request("GET", str(link["href"])).content

    def _json(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        found = self._request(method, path, **more).json()
        return dict(found)

    def _request(self, method: str, path: str, **more: Any) -> httpx2.Response:
        with _told():
            response = self._http.request(method, path, **more)
        if response.is_error:
            raise _error_of(response)
        return response


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong on the way is told of as the service's failure."""
    try:
        yield
    except httpx2.HTTPError as error:
        raise ServiceError(
            f"The service cannot be reached ({type(error).__name__}).",
            hint="Look whether metseg serve runs, and at which address.",
            code="unreachable",
        ) from error


def _error_of(response: httpx2.Response) -> ServiceError:
    try:
        document = response.json()
        message, hint, code = document["detail"], document["hint"], document["code"]
    except (ValueError, KeyError, TypeError):
        message, hint, code = f"The service answered with status {response.status_code}.", "", "unknown"
    after = response.headers.get("Retry-After", "")
    retry = float(after) if after.isdigit() else None
    return ServiceError(message, hint=hint, code=code, status=response.status_code, retry_after_s=retry)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
