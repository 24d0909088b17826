"""Profile ``field`` by size: lesions of a diameter or a volume, and components of a volume."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from metseg.evaluate.bootstrap import Estimate
from metseg.evaluate.field_cohort import FieldCohort, defined
from metseg.evaluate.field_records import ComponentScore, LesionScore

# A thousand voxels of 0.3 mm are 27 mm³, whatever rounding makes of it.
_ROUNDING = 1e-9
NO_LESION_OF_THIS_SIZE = "no_lesion_of_this_size"
NO_COMPONENT_OF_THIS_SIZE = "no_component_of_this_size"


@dataclass(frozen=True)
class FieldBin:
    """Lesions whose size lies in [low, high).

    Args:
        label: for tables: ``"3–5"``, ``"<3"``, ``"≥10"``.
        low: in mm or mm³.
        high: None for no upper end.
        lesions: how many of the reference.
        found: of these.
        sensitivity: of these.
        dice_mean: over these, a missed lesion counts 0.
        found_dice_mean: over the found ones.
        components: of the prediction, by their own volume; None in bins of diameter, which components lack.
        false: of these.
        ppv: of these.
    """

    label: str
    low: float
    high: float | None
    lesions: int
    found: int
    sensitivity: Estimate
    dice_mean: Estimate
    found_dice_mean: Estimate
    components: int | None = None
    false: int | None = None
    ppv: Estimate | None = None


def _ranges(edges: tuple[float, ...]) -> list[tuple[str, float, float | None]]:
    """Label, lower and upper end of each bin."""
    first = [(f"<{edges[0]:g}", 0.0, edges[0])] if edges else []
    last = [(f"≥{edges[-1]:g}", edges[-1], None)] if edges else [("all", 0.0, None)]
    return [*first, *((f"{a:g}–{b:g}", a, b) for a, b in pairwise(edges)), *last]


def _inside(size: float, low: float, high: float | None) -> bool:
    size *= 1 + _ROUNDING
    return size >= low and (high is None or size < high)


def _of_lesions(
    cohort: FieldCohort, which: tuple[str, float, float | None], members: list[tuple[int, LesionScore]]
) -> FieldBin:
    draw, reason = cohort.resampling, NO_LESION_OF_THIS_SIZE
    found, owners = defined((owner, float(lesion.found)) for owner, lesion in members)
    dice, _ = defined((owner, lesion.dice) for owner, lesion in members)
    touched = found > 0
    return FieldBin(
        *which,
        lesions=len(members),
        found=int(touched.sum()),
        sensitivity=draw.mean(found, owners, reason),
        dice_mean=draw.mean(dice, owners, reason),
        found_dice_mean=draw.mean(dice[touched], owners[touched], "no_found_lesion"),
    )


def by_diameter(cohort: FieldCohort) -> tuple[FieldBin, ...]:
    """By the longest axial diameter of the reference's lesions, mm."""
    return tuple(
        _of_lesions(cohort, which, [one for one in cohort.lesions() if _inside(one[1].diameter_mm, *which[1:])])
        for which in _ranges(cohort.options.diameter_edges_mm)
    )


def by_volume(cohort: FieldCohort) -> tuple[FieldBin, ...]:
    """By volume, mm³: the lesions by theirs, the components by theirs."""
    bins = []
    for which in _ranges(cohort.options.volume_edges_mm3):
        lesions = [one for one in cohort.lesions() if _inside(one[1].volume_mm3, *which[1:])]
        components = [one for one in cohort.components() if _inside(one[1].volume_mm3, *which[1:])]
        bins.append(_with_components(cohort, _of_lesions(cohort, which, lesions), components))
    return tuple(bins)


def _with_components(cohort: FieldCohort, of: FieldBin, components: list[tuple[int, ComponentScore]]) -> FieldBin:
    true, owners = defined((owner, float(not component.false)) for owner, component in components)
    ppv = cohort.resampling.mean(true, owners, NO_COMPONENT_OF_THIS_SIZE)
    return replace(of, components=len(true), false=int(len(true) - np.count_nonzero(true)), ppv=ppv)
