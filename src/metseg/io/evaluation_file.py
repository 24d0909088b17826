"""evaluation.json: scores as plain data. NaN and infinities are the strings "NaN", "Infinity", "-Infinity"."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from metseg.core.errors import InputError
from metseg.io.case_names import shown_name
from metseg.io.folder_walk import is_folder

EVALUATION: Final = "evaluation.json"
SCHEMA: Final = "metseg.evaluation/1"
_FACTS: Final = 'It should say {"RUN": {"NAME": 1.5, …}, …}, with the names of the runs.'
_LONGEST_BYTES: Final = 2**30


def to_plain(value: Any) -> Any:
    """Dataclasses, mappings, tuples and NumPy's numbers as what JSON knows."""
    if is_dataclass(value) and not isinstance(value, type):
        return to_plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def to_number(value: Any) -> float | None:
    """A number of evaluation.json; None where there is none.

    >>> [to_number(value) for value in (2, "Infinity", None, True)]
    [2.0, inf, None, None]
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else None


def evaluation_text(document: Mapping[str, Any]) -> str:
    """The file's text; the same document gives the same text."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_evaluation(path: Path) -> dict[str, Any]:
    """Read an evaluation: the file, or the folder that holds it.

    Raises:
        InputError: it is not there, or is none that this version understands.
    """
    file = path / EVALUATION if is_folder(path) else path
    name = shown_name(file)
    try:
        if file.stat().st_size > _LONGEST_BYTES:
            raise InputError(f"{name} has more than a gigabyte.", hint="Name a file that metseg evaluate has written.")
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{name} in {shown_name(file.parent)} cannot be read: {error.strerror}.",
            hint="Name a file that metseg evaluate has written, or its folder.",
        ) from error
    except ValueError as error:
        raise InputError(f"{name} is no JSON.", hint="Name a file that metseg evaluate has written.") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or not _has_cases(document):
        raise InputError(
            f"{name} is no evaluation that this version understands.",
            hint=f"Make it again with metseg evaluate; it should say {SCHEMA}.",
        )
    return document


def _has_cases(document: Mapping[str, Any]) -> bool:
    cases = document.get("cases")
    return isinstance(cases, dict) and all(isinstance(case, dict) for case in cases.values())


def read_facts(path: Path) -> dict[str, dict[str, str | int | float | None]]:
    """Read what a user says of runs: JSON, ``{RUN: {NAME: text or number}}``.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    name = shown_name(path)
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}.", hint=_FACTS) from error
    except ValueError as error:
        raise InputError(f"{name} is no JSON.", hint=_FACTS) from error
    rows = list(facts.values()) if isinstance(facts, dict) else [None]
    values = [value for row in rows if isinstance(row, dict) for value in row.values()]
    known = all(value is None or isinstance(value, str | int | float) for value in values)
    if not known or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{name} does not hold facts of runs.", hint=_FACTS)
    return dict(facts)
