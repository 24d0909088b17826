"""The columns of the BraTS-METS 2025 leaderboard, made from panoptica's scores of each region.

Source: the parser ``brats-parse-metrics mets`` of BraTS_evaluation, in three versions that differ:

- ``git_791134c``: the GitHub repository, older than the packages.
- ``pypi_0.0.8``: pinned by the challenge's scoring container.
- ``pypi_0.0.10``: the newest package.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

Parser = Literal["pypi_0.0.8", "pypi_0.0.10", "git_791134c"]
PENALTY_MM: Final = 373.0
_NAN: Final = float("nan")
_REGIONS: Final = ("et", "rc", "tc", "wt")


@dataclass
class _Lesions:
    """What a region's lesions of the reference add up to: large ones and small ones."""

    large: int = 0
    small: int = 0
    large_found: int = 0
    small_found: int = 0
    dsc: list[float] = field(default_factory=list)
    hd95: list[float] = field(default_factory=list)
    nsd: list[float] = field(default_factory=list)

    def add(self, dsc: float, hd95: float, nsd: float, times: int = 1) -> None:
        """Scores that enter the means over large lesions."""
        self.dsc += [dsc] * times
        self.hd95 += [hd95] * times
        self.nsd += [nsd] * times


def leaderboard_row(
    raw: Mapping[str, Mapping[str, Any]], parser: Parser = "pypi_0.0.8", large_mm3: float = 27.0, overlap: float = 0.2
) -> dict[str, float]:
    """The leaderboard's columns of one case.

    Args:
        raw: panoptica's scores, by region (``metseg.evaluate.brats2025``).
        parser: whose columns.
        large_mm3: least volume of a large lesion.
        overlap: least Dice with which a lesion counts as detected.
    """
    row: dict[str, float] = {}
    for region, scores in raw.items():
        columns = _columns(scores, parser, large_mm3, overlap)
        row |= {f"{column}_{region}": value for column, value in columns.items()}
    return row


def _columns(scores: Mapping[str, Any], parser: Parser, large_mm3: float, overlap: float) -> dict[str, float]:
    lesions, false = _Lesions(), int(scores["fp"])
    for lesion in scores["reference_instances"]:
        _add_lesion(lesions, lesion, large_mm3, overlap, misses=parser != "git_791134c")
    if parser != "git_791134c":
        # Quirk B1: the packages let every false positive, of any size, count as a missed large lesion.
        lesions.add(0.0, PENALTY_MM, 0.0, times=false)
    newest = parser == "pypi_0.0.10"
    columns = _all_instances(scores, newest=newest)
    if parser != "git_791134c":
        columns |= _large_instances(lesions, false, newest=newest)
    columns |= _means(lesions)
    columns |= _detection("small", lesions.small, lesions.small_found, false, newest=newest)
    return columns | (_global(scores) if newest else {})


def _add_lesion(
    lesions: _Lesions, lesion: Mapping[str, float], large_mm3: float, overlap: float, *, misses: bool
) -> None:
    matched = lesion["is_matched"] == 1
    found = matched and lesion["sq_dsc"] >= overlap
    if lesion["volume"] < large_mm3:
        lesions.small += 1
        lesions.small_found += found
        return
    lesions.large += 1
    lesions.large_found += found
    if matched:
        lesions.add(lesion["sq_dsc"], lesion["sq_hd95"], lesion["sq_nsd"])
    elif misses:
        # Quirk B1: git_791134c averages over matched lesions only.
        lesions.add(0.0, PENALTY_MM, 0.0)


def _all_instances(scores: Mapping[str, Any], *, newest: bool) -> dict[str, float]:
    rates = {"all_instance_prec": scores.get("prec", _NAN), "all_instance_rec": scores.get("rec", _NAN)}
    return {
        "all_instance_tp": scores["tp"],
        "all_instance_fp": scores["fp"],
        "all_instance_fn": scores["fn"],
        **(rates if newest else {}),
        "all_instance_f1": scores["rq"],
    }


def _large_instances(lesions: _Lesions, false: int, *, newest: bool) -> dict[str, float]:
    """Quirk B2: without a large lesion 0.0.8 reports zeros and the false positives, 0.0.10 NaN."""
    present = lesions.large if newest else max(lesions.large, 1)
    columns = _detection("large", present, lesions.large_found, false, newest=newest)
    if lesions.large or newest:
        return columns
    return {**columns, "large_instance_fn": 0}


def _detection(kind: str, present: int, found: int, false: int, *, newest: bool) -> dict[str, float]:
    """Lesions of one kind that were detected; NaN where there is none of the kind."""
    missed = present - found
    values: dict[str, float] = {
        "tp": found,
        "fn": missed,
        "fp": false,
        "prec": found / (found + false) if found + false else 0,
        "rec": found / present if present else 0,
        "f1": 2 * found / (2 * found + false + missed) if 2 * found + false + missed else 0,
    }
    if kind == "large":
        values = {name: values[name] for name in ("tp", "fp", "fn", "prec", "rec", "f1")}
    kept = {name: value for name, value in values.items() if newest or name not in ("prec", "rec")}
    return {f"{kind}_instance_{name}": value if present else _NAN for name, value in kept.items()}


def _means(lesions: _Lesions) -> dict[str, float]:
    """Mean and population standard deviation over what stands for large lesions; NaN where there is none."""
    columns: dict[str, float] = {}
    for name, values, nothing in (
        ("dsc", lesions.dsc, 0.0),
        ("hd95", [value for value in lesions.hd95 if math.isfinite(value)], PENALTY_MM),
        ("nsd", lesions.nsd, 0.0),
    ):
        mean, std = (float(np.mean(values)), float(np.std(values))) if values else (nothing, 0.0)
        columns[f"lesionwise_{name}_mean"] = mean if lesions.large else _NAN
        columns[f"lesionwise_{name}_std"] = std if lesions.large else _NAN
    return columns


def _global(scores: Mapping[str, Any]) -> dict[str, float]:
    hd95 = scores["global_bin_hd95"]
    return {
        "global_dsc": scores["global_bin_dsc"],
        "global_nsd": scores["global_bin_nsd"],
        "global_hd95": PENALTY_MM if hd95 == float("inf") else hd95,
    }


def missing_row(parser: Parser = "pypi_0.0.8", regions: Sequence[str] = _REGIONS) -> dict[str, float]:
    """The columns of a case whose prediction is missing: 0, and 373 for HD95.

    Quirk B2: 0.0.10 fills the standard deviation of HD95 with 0, the others with 373.
    """
    nothing = {"tp": 0, "fp": 0, "fn": 0, "rq": 0.0, "reference_instances": []}
    whole = {"global_bin_dsc": 0.0, "global_bin_nsd": 0.0, "global_bin_hd95": 0.0}
    names = leaderboard_row({region: {**nothing, **whole} for region in regions}, parser)
    row = dict.fromkeys(names, 0.0)
    far = [name for name in names if "hd95" in name and not (parser == "pypi_0.0.10" and "std" in name)]
    return row | dict.fromkeys(far, PENALTY_MM)


def aggregate(rows: Sequence[Mapping[str, float]], parser: Parser = "pypi_0.0.8") -> dict[str, dict[str, float]]:
    """The rows below the leaderboard's table: mean, standard deviation (n - 1) and median of each column.

    NaN is skipped, so cases without a large lesion drop out of the means over large lesions, their false positives
    with them. A column without any number is NaN; so is the deviation of a single number. ``git_791134c`` gives no
    median.

    Args:
        rows: of the cases, with the same columns.
        parser: whose rows.
    """
    columns = list(rows[0]) if rows else []
    kept = {name: [row[name] for row in rows if not math.isnan(row[name])] for name in columns}
    result = {
        "mean": {name: float(np.mean(values)) if values else _NAN for name, values in kept.items()},
        "std": {name: float(np.std(values, ddof=1)) if len(values) > 1 else _NAN for name, values in kept.items()},
    }
    if parser != "git_791134c":
        result["median"] = {name: float(np.median(values)) if values else _NAN for name, values in kept.items()}
    return result
