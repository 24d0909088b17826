"""Values out of DICOM headers that may be wrong: read defensively, never quoted, and without noise.

A header can hold text where numbers belong, and any text can hold a patient's name. Nothing here repeats a value that
could not be read, and ``quiet`` keeps pydicom from doing so.
"""

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

# One logger tree per decoder; their records can quote header values.
_TALKATIVE: Final = (
    "highdicom.base", "highdicom.valuerep", "openjpeg", "pydicom", "pydicom.pixels.decoders.base",
    "pydicom.pixels.utils", "pylibjpeg", "pylibjpeg.utils",
)  # fmt: skip


class FaultyValueError(ValueError):
    """A header value that cannot be used; its text says which attribute and what is wrong, never the value."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what pydicom and the decoders say about header values out of warnings and logs.

    They warn for files that are then read well or refused with a sentence of ours, and quote values in doing so.
    """

    def silence(_: logging.LogRecord) -> bool:
        return False

    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    for logger in loggers:
        logger.addFilter(silence)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(silence)


def quiet_for_good() -> None:
    """The same for a process that is metseg's own, for all threads, and for what libraries of the network say."""
    for name in (*_TALKATIVE, "dicomweb_client", "highdicom", "pynetdicom", "requests", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")


def value_of(layers: Sequence[Dataset], keyword: str) -> Any:
    """The first value called ``keyword`` in ``layers``, None where there is none or it is empty.

    Raises:
        FaultyValueError: the value is there but cannot be converted from its text.
    """
    for layer in layers:
        try:
            value = layer.get(keyword)
        except Exception:  # noqa: BLE001 - pydicom converts on access and raises whatever the text provokes
            raise FaultyValueError(f"its {keyword} cannot be read") from None
        if value is not None and value != "" and not (hasattr(value, "__len__") and len(value) == 0):
            return value
    return None


def text_of(layers: Sequence[Dataset], keyword: str) -> str:
    """The value as text, stripped; several values joined by a backslash; empty where missing or unreadable."""
    try:
        return "\\".join(_texts(value_of(layers, keyword)))
    except (FaultyValueError, UnicodeError, LookupError):  # the latter two from broken or unknown character sets
        return ""


def texts_of(layers: Sequence[Dataset], keyword: str) -> tuple[str, ...]:
    """All values as upper-case text with underscores as blanks, for coded strings such as ImageType."""
    return tuple(part.upper().replace("_", " ") for part in text_of(layers, keyword).split("\\") if part)


def numbers_of(layers: Sequence[Dataset], keyword: str, count: int) -> tuple[float, ...] | None:
    """``count`` finite numbers, or None where the attribute is missing or empty.

    Raises:
        FaultyValueError: another count, text that is no number (a decimal comma, say), NaN or infinity.
    """
    value = value_of(layers, keyword)
    if value is None:
        return None
    try:
        numbers = tuple(float(part) for part in _parts(value))
    except (TypeError, ValueError, OverflowError):
        raise FaultyValueError(f"its {keyword} is not made of numbers") from None
    if len(numbers) != count:
        raise FaultyValueError(f"its {keyword} has {len(numbers)} values instead of {count}")
    if not all(math.isfinite(number) for number in numbers):
        raise FaultyValueError(f"its {keyword} is not finite")
    return numbers


def number_of(layers: Sequence[Dataset], keyword: str) -> float | None:
    """One finite number, None where the attribute is missing, empty or unreadable."""
    try:
        numbers = numbers_of(layers, keyword, 1)
    except FaultyValueError:
        return None
    return numbers[0] if numbers else None


def _parts(value: Any) -> list[Any]:
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


def _texts(value: Any) -> list[str]:
    if value is None or isinstance(value, bytes):
        return []
    return [str(part).strip() for part in _parts(value)]
