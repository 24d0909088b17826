"""What a comparison says of each run by itself: facts that the user gave, and lesions by size."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from metseg.report.score_text import estimate, number

Rows = list[tuple[str, ...]]
_BY_VOLUME: Final = ("run", "mm³", "found", "sensitivity (interval)", "false", "PPV (interval)", "F1")


def facts_table(document: Mapping[str, Any]) -> tuple[tuple[str, ...], Rows]:
    """Columns and rows of the facts, a run a row; no rows where there are none."""
    facts: Mapping[str, Mapping[str, Any]] = document["facts"]
    names = tuple(dict.fromkeys(name for own in facts.values() for name in own))
    rows = [(run, *(_fact(facts.get(run, {}).get(name)) for name in names)) for run in _runs(document)]
    return ("run", *names), rows if names else []


def diameter_table(document: Mapping[str, Any]) -> tuple[tuple[str, ...], Rows]:
    """Sensitivity by the lesions' longest axial diameter, a run a row."""
    sizes = {run: own["by_diameter"] for run, own in document["sizes"].items() if own["by_diameter"]}
    labels = tuple(
        dict.fromkeys(f"{one['label']} mm (n = {one['lesions']})" for bins in sizes.values() for one in bins)
    )
    rows = []
    for run, bins in sizes.items():
        cells = {f"{one['label']} mm (n = {one['lesions']})": estimate(one["sensitivity"]) for one in bins}
        rows.append((run, *(cells.get(label, "–") for label in labels)))
    return ("run", *labels), rows


def volume_table(document: Mapping[str, Any]) -> tuple[tuple[str, ...], Rows]:
    """Sensitivity, PPV and F1 by volume: lesions by theirs, components by theirs; a run and a bin a row."""
    return _BY_VOLUME, list(_volume_rows(document["sizes"]))


def _volume_rows(sizes: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> Iterator[tuple[str, ...]]:
    for run, own in sizes.items():
        for one in own["by_volume"]:
            yield (
                run, one["label"], f"{one['found']} of {one['lesions']}", estimate(one["sensitivity"]),
                f"{one['false']} of {one['components']}", estimate(one["ppv"]), number(_f1(one)),
            )  # fmt: skip


def _f1(one: Mapping[str, Any]) -> float | None:
    """The harmonic mean of a bin's sensitivity and PPV; None where it has no lesion, or nothing was called."""
    sensitivity, ppv = one["sensitivity"]["value"], one["ppv"]["value"]
    if sensitivity is None or ppv is None:
        return None
    return 2 * sensitivity * ppv / (sensitivity + ppv) if sensitivity + ppv else 0.0


def _runs(document: Mapping[str, Any]) -> Sequence[str]:
    runs: Sequence[str] = document["comparison"]["runs"]
    return runs


def _fact(value: Any) -> str:
    return value if isinstance(value, str) else number(value, 4)
