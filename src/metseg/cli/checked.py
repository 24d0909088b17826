"""Flags to options. Apart from the flags themselves, since ``--help`` must not wait for pydantic."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from metseg.core.errors import ConfigError
from metseg.core.options import Options

Kind = TypeVar("Kind", bound=Options)


def checked(kind: type[Kind], values: Mapping[str, Any], *, command: str) -> Kind:
    """The options of ``metseg COMMAND``, from their values by name.

    Raises:
        ConfigError: a value that is wrong; the first is named.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = str(first["msg"]).removeprefix("Value error, ")
        raise ConfigError(f"The option {where} is wrong: {what}.", hint=f"See metseg {command} --help.") from error
