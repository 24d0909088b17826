"""Everything metseg raises on purpose, in one tree.

MetsegError
├── InputError         what the user gave cannot be used as it is          exit 2, HTTP 422
├── ConfigError        an option or a configuration file is wrong          exit 2, HTTP 400
├── MissingExtraError  an optional dependency is not installed             exit 3, HTTP 501
├── ModelError         a model bundle is missing, broken or foreign        exit 4, HTTP 500
├── InferenceError     a model ran and failed                              exit 5, HTTP 500
└── PeerError          another system cannot be reached, or refuses        exit 6, HTTP 502

A message is one sentence that says what is wrong and where; ``hint`` says what to do about it.
Neither ever carries a patient's name, id or date.
"""

from typing import Final

_DEBUG_HINT: Final = "Run again with --debug to see where, and tell the developers."


class MetsegError(Exception):
    """Root of the tree: a message for a person, and a hint that says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InputError(MetsegError):
    """What the user gave cannot be used as it is."""


class ConfigError(MetsegError):
    """An option or a configuration file is wrong."""


class MissingExtraError(MetsegError):
    """An optional dependency is not installed."""


class ModelError(MetsegError):
    """A model bundle is missing, broken or foreign."""


class InferenceError(MetsegError):
    """A model ran and failed."""


class PeerError(MetsegError):
    """Another system, such as an archive, cannot be reached, or refuses."""


def explained(error: BaseException) -> tuple[str, str]:
    """A message and a hint for any error. The text of a foreign exception is kept out: it may quote a header."""
    if isinstance(error, MetsegError):
        return error.message, error.hint
    if isinstance(error, MemoryError):
        return (
            "There was not enough memory for this case.",
            "Use a machine with more memory, or let less run at a time.",
        )
    if isinstance(error, OSError):
        return f"The system refused: {error.strerror or type(error).__name__}.", _DEBUG_HINT
    return f"Something unexpected went wrong ({type(error).__name__}).", _DEBUG_HINT


_CODES: Final[dict[type[MetsegError], tuple[int, int]]] = {
    InputError: (2, 422),
    ConfigError: (2, 400),
    MissingExtraError: (3, 501),
    ModelError: (4, 500),
    InferenceError: (5, 500),
    PeerError: (6, 502),
}
UNEXPECTED_EXIT_CODE: Final = 1


def exit_code(error: BaseException) -> int:
    """Exit code of the process for ``error``: 1 for anything outside the tree."""
    return next((code for kind, (code, _) in _CODES.items() if isinstance(error, kind)), UNEXPECTED_EXIT_CODE)


def http_status(error: BaseException) -> int:
    """HTTP status for ``error``: 500 for anything outside the tree."""
    return next((status for kind, (_, status) in _CODES.items() if isinstance(error, kind)), 500)
