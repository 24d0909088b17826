"""A recipe's TOML file, and the recipe that a run keeps beside what it made."""

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from metseg.core.errors import ConfigError
from metseg.core.options import Options

Kind = TypeVar("Kind", bound=Options)


def read_recipe_file(path: Path, kind: type[Kind]) -> Kind:
    """Read a recipe.

    Raises:
        ConfigError: not TOML, or keys or values that are wrong (all of them are listed).
    """
    try:
        return kind.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"The recipe {path.name} cannot be read: {error}.") from error
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'the whole'}: {str(e['msg']).removeprefix('Value error, ')}"
            for e in found
        )
        raise ConfigError(f"The recipe {path.name} is wrong: {problems}.") from error
