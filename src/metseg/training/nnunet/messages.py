"""How a child tells its parent what it does: one JSON object a line."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from metseg.core import errors
from metseg.core.errors import MetsegError

Say = Callable[..., None]
PROGRESS: Final = "progress"
EPOCH: Final = "epoch"
RESULT: Final = "result"
ERROR: Final = "error"


def line_of(kind: str, content: Mapping[str, Any]) -> str:
    """A message as a line."""
    return json.dumps({"kind": kind, **content}, allow_nan=False) + "\n"


def read_line(line: str) -> tuple[str, dict[str, Any]]:
    """Kind and content of a message.

    Raises:
        MetsegError: it is none.
    """
    try:
        content = json.loads(line)
        return str(content.pop("kind")), content
    except (ValueError, KeyError, AttributeError) as error:
        raise MetsegError("The process that trains said something that cannot be understood.") from error


def plain_error(error: MetsegError) -> dict[str, str]:
    """An error as a message's content."""
    return {"error": type(error).__name__, "message": error.message, "hint": error.hint}


def told_error(content: Mapping[str, Any]) -> MetsegError:
    """The error that a message tells of, of the same class."""
    kind = getattr(errors, str(content.get("error")), MetsegError)
    known = kind if isinstance(kind, type) and issubclass(kind, MetsegError) else MetsegError
    return known(str(content.get("message", "")), hint=str(content.get("hint", "")))
