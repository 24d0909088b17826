"""Compares nested scores with the official ones: which numbers differ."""

import math
from collections.abc import Iterator
from typing import Any

# Lesions are numbered as one version of one library labels them: they are told apart by these instead.
_KEYS = ("volume", "gt_lesion_vol", "sq_dsc", "dice_lesionwise", "sq_hd95", "hd95_lesionwise", "nsd10_lesionwise")
_LABELLING = ("predicted_lesion_numbers", "gt_lesion_numbers", "_absent")


def _order(row: dict[str, Any]) -> tuple[float, ...]:
    return tuple(round(float(row.get(key, -1)), 6) for key in _KEYS)


def _numbers(scores: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(scores, dict):
        for key, value in scores.items():
            if key not in _LABELLING:
                yield from _numbers(value, f"{path}.{key}")
    elif isinstance(scores, list | tuple):
        for position, value in enumerate(sorted(scores, key=_order)):
            yield from _numbers(value, f"{path}[{position}]")
    else:
        yield path, float(scores)  # "NaN" and "Infinity" are spelt so in JSON


def same(one: float, other: float, rel: float) -> bool:
    """Equal within a relative tolerance; whole numbers exactly; NaN equals NaN."""
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    if one.is_integer() and other.is_integer():
        return one == other
    return math.isclose(one, other, rel_tol=rel, abs_tol=1e-15)


def differences(mine: Any, official: Any, rel: float = 1e-9) -> list[str]:
    """Every number that is wrong, missing or too much, as a line of text."""
    ours, theirs = dict(_numbers(mine)), dict(_numbers(official))
    assert theirs or not official, "nothing to compare with"
    missing = [f"{path} is missing" for path in theirs.keys() - ours.keys()]
    extra = [f"{path} is not official" for path in ours.keys() - theirs.keys()]
    wrong = [
        f"{path}: {ours[path]!r} instead of {theirs[path]!r}"
        for path in theirs.keys() & ours.keys()
        if not same(ours[path], theirs[path], rel)
    ]
    return sorted(missing + extra + wrong)
