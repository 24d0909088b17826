"""Scores as people read them: digits, intervals, and words where there is no number."""

from collections.abc import Mapping
from typing import Any


def number(value: Any, digits: int = 3) -> str:
    """A number of evaluation.json: rounded; a dash where there is none, ``∞``, ``NaN``.

    >>> [number(value) for value in (0.12345, None, "Infinity", 7)]
    ['0.123', '–', '∞', '7']
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return {"Infinity": "∞", "-Infinity": "-∞"}.get(value, value)
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 10):
        return f"{value:.0f}"
    return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.0f}"


def estimate(found: Mapping[str, Any] | None, digits: int = 3) -> str:
    """``"0.81 (0.72–0.88)"``; without an interval the value alone; the reason where there is no value."""
    if found is None:
        return "–"
    if found["value"] is None:
        return found["reason"].replace("_", " ") or "–"
    value = number(found["value"], digits)
    if found["low"] is None:
        return value
    return f"{value} ({number(found['low'], digits)} to {number(found['high'], digits)})"


def summary(found: Mapping[str, Any], digits: int = 3) -> str:
    """``"0.81 ± 0.12; 0.83"``: mean, standard deviation, median; with what is not in them."""
    if found["mean"] is None:
        return "not defined in any case"
    spread = "" if found["std"] is None else f" ± {number(found['std'], digits)}"
    left_out = found["undefined"] + found["infinite"]
    rest = f" ({left_out} left out)" if left_out else ""
    return f"{number(found['mean'], digits)}{spread}; {number(found['median'], digits)}{rest}"
