"""What a user says about the values in masks: ``1=NETC,2=SNFH,3=ET``, or ``1=1,2=0``."""

from collections.abc import Mapping, Sequence
from typing import Final

from metseg.core.errors import ConfigError
from metseg.datasets.source import LESION, PRE_TREATMENT, SUBREGIONS

_NAMES: Final = {"netc": 1, "ncr": 1, "snfh": 2, "ed": 2, "et": 3, "rc": 4}
_HINT: Final = "Write VALUE=LABEL with commas between, as 1=NETC,2=SNFH,3=ET,4=RC or 255=lesion; 0 is background."


def parse_labels(text: str, scheme: Mapping[int, str]) -> tuple[dict[int, int], Mapping[int, str]]:
    """The label of each value, and the scheme of the data set to be written.

    Args:
        text: as the user wrote it.
        scheme: of the layout; numbers must be its own. Names of sub-regions bring their own scheme.

    Raises:
        ConfigError: it cannot be read, or a label is not in the scheme.
    """
    pairs = _pairs(text.split(","))
    wanted = [label.casefold() for _, label in pairs]
    if any(label in _NAMES for label in wanted):
        scheme = SUBREGIONS if "rc" in wanted else PRE_TREATMENT
    elif "lesion" in wanted:
        scheme = LESION
    return {value: _number(label, scheme) for value, label in pairs}, scheme


def parse_repairs(texts: Sequence[str], scheme: Mapping[int, str]) -> dict[int, int]:
    """The label of values that should not be there.

    Raises:
        ConfigError: they cannot be read, or a label is not in the scheme.
    """
    return {value: _number(label, scheme) for value, label in _pairs(texts)}


def _pairs(parts: Sequence[str]) -> list[tuple[int, str]]:
    pairs = []
    for part in parts:
        value, equals, label = (piece.strip() for piece in part.partition("="))
        if not equals or not value.isdigit() or not label:
            raise ConfigError(f"{part.strip()!r} says no label of a value.", hint=_HINT)
        pairs.append((int(value), label))
    if len({value for value, _ in pairs}) < len(pairs):
        raise ConfigError("A value is given two labels.", hint=_HINT)
    return pairs


def _number(label: str, scheme: Mapping[int, str]) -> int:
    named = {**_NAMES, "lesion": 1, "background": 0}
    number = int(label) if label.isdigit() else named.get(label.casefold(), -1)
    if number != 0 and number not in scheme:
        known = ", ".join(f"{n} ({name})" for n, name in scheme.items())
        raise ConfigError(f"There is no label {label!r} here; there are {known}.", hint=_HINT)
    return number
