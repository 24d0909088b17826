"""Errors as documents: RFC 9457 problem details with a code that stays the same, a sentence, and a remedy."""

import re
from dataclasses import dataclass
from typing import Any, Final

from metseg.core.errors import (
    ConfigError,
    InferenceError,
    InputError,
    MetsegError,
    MissingExtraError,
    ModelError,
    explained,
)

MEDIA_TYPE: Final = "application/problem+json"
# code -> (status, title). docs/reference/service.md says when each comes.
CODES: Final[dict[str, tuple[int, str]]] = {
    "already-finished": (409, "The job has ended"),
    "authentication-required": (401, "Authentication is required"),
    "body-too-large": (413, "The request is too large"),
    "disk-full": (507, "There is not enough room on the disk"),
    "encoding-refused": (415, "The encoding of the body is not accepted"),
    "extra-missing": (501, "A part of metseg is not installed"),
    "file-unknown": (404, "There is no such file"),
    "host-refused": (421, "The service is not known by this name"),
    "idempotency-key-reused": (422, "The idempotency key was used for another request"),
    "inference-failed": (500, "The model failed"),
    "input-refused": (422, "The images cannot be used"),
    "internal-error": (500, "Something unexpected went wrong"),
    "job-erased": (410, "The job was erased"),
    "job-unknown": (404, "There is no such job"),
    "link-expired": (403, "The link has expired"),
    "link-invalid": (403, "The link is not valid"),
    "malformed-request": (400, "The request is malformed"),
    "media-type-refused": (415, "The kind of the body is not accepted"),
    "memory-limit": (500, "The study needs more memory than is allowed"),
    "method-not-allowed": (405, "The method is not allowed here"),
    "model-broken": (500, "The model is missing or broken"),
    "not-finished": (409, "The job has not succeeded"),
    "not-found": (404, "There is nothing here"),
    "not-ready": (503, "The service is not ready"),
    "option-wrong": (400, "An option is wrong"),
    "origin-refused": (403, "Requests from this web page are refused"),
    "permission-denied": (403, "This key may not do that"),
    "queue-full": (429, "Too many studies wait"),
    "rate-limited": (429, "Too many requests"),
    "set-aside": (500, "The job was set aside"),
    "several-studies": (422, "The upload holds several studies"),
    "time-limit": (500, "The study takes longer than is allowed"),
    "too-many-files": (413, "The upload holds too many files"),
    "upload-incomplete": (400, "The upload was cut off"),
    "upload-too-slow": (408, "The upload is too slow"),
    "worker-crashed": (500, "The job crashed its worker twice"),
}
_FLAG: Final = re.compile(r"--([a-z][a-z0-9-]*)")
_OF_CLASS: Final[dict[type[MetsegError], str]] = {
    InputError: "input-refused",
    ConfigError: "option-wrong",
    MissingExtraError: "extra-missing",
    ModelError: "model-broken",
    InferenceError: "inference-failed",
}


@dataclass(eq=False)  # not frozen: Python writes the traceback into it
class Problem(Exception):  # noqa: N818  # RFC 9457's word
    """Something to tell the caller.

    Args:
        code: out of ``CODES``.
        detail: one sentence: what is wrong and where. No patient data.
        hint: what to do about it.
        retry_after_s: when to come again, where that helps.
    """

    code: str
    detail: str
    hint: str = ""
    retry_after_s: int | None = None

    @property
    def status(self) -> int:
        """HTTP status."""
        return CODES[self.code][0]

    def document(self, instance: str = "") -> dict[str, Any]:
        """The document of RFC 9457, with the members ``code`` and ``hint`` of our own."""
        plain: dict[str, Any] = {
            "type": f"urn:metseg:problem:{self.code}",
            "title": CODES[self.code][1],
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "hint": self.hint,
        }
        return {**plain, "instance": instance} if instance else plain

    def headers(self) -> dict[str, str]:
        """Those that belong to the problem."""
        retry = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return {**retry, "WWW-Authenticate": 'Bearer realm="metseg"'} if self.status == 401 else retry


def problem_of(error: BaseException) -> Problem:
    """The problem that an error means; the text of a foreign exception is kept out, as it may quote a header."""
    if isinstance(error, Problem):
        return error
    message, hint = explained(error)
    code = next((code for kind, code in _OF_CLASS.items() if isinstance(error, kind)), "internal-error")
    return Problem(code, message, "Tell the developers." if "--debug" in hint else _for_http(hint))


def _for_http(hint: str) -> str:
    """A hint that names flags of the command line, with the names that they have in a form.

    >>> _for_http("If you are sure, go on with --force-modality.")
    'If you are sure, go on with the field force_modality.'
    """
    return _FLAG.sub(lambda flag: f"the field {flag[1].replace('-', '_')}", hint)
