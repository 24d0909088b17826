"""Options from their three sources: defaults < TOML file < flags."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from metseg.config.options import SegmentOptions
from metseg.core.errors import ConfigError

TABLE: Final = "segment"


def read_options_file(path: Path) -> dict[str, Any]:
    """The table ``[segment]`` of a TOML file, unchecked.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or holds anything beside that table.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The options file {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The options file {path} is not valid TOML: {error}.") from error
    strangers = [key for key in document if key != TABLE]
    if strangers or not isinstance(document.get(TABLE, {}), dict):
        raise ConfigError(
            f"The options file {path} may hold only a table [{TABLE}], not {', '.join(strangers) or 'a plain value'}.",
            hint=f"Put the options below a line [{TABLE}].",
        )
    return dict(document.get(TABLE, {}))


def resolve_options(
    *,
    file: Mapping[str, Any] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> SegmentOptions:
    """Compose the options; a later source overrides an earlier one key by key. A flag of None was not given.

    Raises:
        ConfigError: unknown keys and bad values, all of them in one message, each with its source.
    """
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    layers = (("options file", file or {}), ("flag", given))
    merged: dict[str, Any] = {}
    source: dict[str, str] = {}
    for name, layer in layers:
        merged.update(layer)
        source.update(dict.fromkeys(layer, name))
    try:
        return SegmentOptions.model_validate(merged)
    except ValidationError as error:
        problems = _problems(error, source)
        raise ConfigError(
            f"{len(problems)} option{'s are' if len(problems) > 1 else ' is'} wrong: {'; '.join(problems)}.",
            hint=f"Known options: {', '.join(SegmentOptions.model_fields)}.",
        ) from error


def _problems(error: ValidationError, source: Mapping[str, str]) -> list[str]:
    """A phrase for each wrong option (one that fails in several ways is named once)."""
    phrases: dict[str, str] = {}
    for item in error.errors(include_url=False, include_context=False):
        key = str(item["loc"][0]) if item["loc"] else "options"
        what = "unknown" if item["type"] == "extra_forbidden" else str(item["msg"]).removeprefix("Value error, ")
        shown = "" if item["type"] == "extra_forbidden" or not item["loc"] else f" = {item['input']!r}"
        phrases.setdefault(key, f"{key}{shown} ({source.get(key, 'default')}): {what}")
    return list(phrases.values())
