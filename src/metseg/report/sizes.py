"""How many lesions there are of each size, and how well the model finds such."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from metseg.core.lesion import LesionTable

# Upper ends in millimetres of longest axial diameter, as the evaluator bins them, with the largest parted once more.
_BINS: Final = (("<3 mm", 3.0), ("3–5 mm", 5.0), ("5–10 mm", 10.0), ("10–20 mm", 20.0), ("≥20 mm", float("inf")))


@dataclass(frozen=True)
class SizeBin:
    """Lesions of one size.

    Args:
        label: the range of longest axial diameters.
        count: lesions found.
        share: of the fullest bin, 0 to 1.
    """

    label: str
    count: int
    share: float


def size_bins(lesions: LesionTable) -> list[SizeBin]:
    """Lesions by longest axial diameter; the lower end belongs to a bin, the upper does not."""
    counts, low = [], 0.0
    for _, high in _BINS:
        counts.append(sum(low <= one.diameter_mm < high for one in lesions))
        low = high
    most = max([1, *counts])
    return [SizeBin(label, count, count / most) for (label, _), count in zip(_BINS, counts)]


@dataclass(frozen=True)
class Measured:
    """What was measured of the model at the operating point in use, as the page prints it.

    Args:
        sentence: sensitivity and false findings.
        by_size: range of diameters, found, of how many, percent.
    """

    sentence: str
    by_size: list[tuple[str, int, int, str]]


def measured_performance(model: Mapping[str, Any]) -> Measured | None:
    """What a result's model says was measured; None where nothing was, as for a threshold of one's own."""
    facts = model.get("measured")
    if not isinstance(facts, Mapping):
        return None
    parts = []
    if facts.get("sensitivity") is not None:
        parts.append(f"{100 * float(facts['sensitivity']):.0f} % of the metastases found")
    if facts.get("fp_per_patient") is not None:
        parts.append(f"{float(facts['fp_per_patient']):.3g} false findings a patient")
    if not parts:
        return None
    sentence = f"Measured at this operating point: {', '.join(parts)} (on {facts.get('measured_on')})."
    sizes = dict(facts.get("found_by_size") or {})
    return Measured(sentence, [(label, found, of, _percent(found, of)) for label, (found, of) in sizes.items()])


def _percent(found: int, of: int) -> str:
    return f"{100 * found / of:.0f} %" if of else "–"
