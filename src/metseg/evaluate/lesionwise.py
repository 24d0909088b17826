"""What the lesion-wise scores of BraTS 2023 and 2024 share: lesions merged by dilation, matched by contact."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metseg.evaluate.distances import Spacing
from metseg.evaluate.pair import Ids, RegionPair

LARGEST_IGNORED_MM3 = 2.0


@dataclass(frozen=True)
class BratsCase:
    """The scores of one case.

    Args:
        regions: by region, then by the official code's field names.
        lesions: by region, for each lesion of the reference, by the official code's field names.
    """

    regions: Mapping[str, Mapping[str, float]]
    lesions: Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Match:
    """A lesion of the reference and the predicted lesions matched to it.

    Args:
        number: of the lesion.
        present: its components in the reference.
        numbers: of the matched predicted lesions, increasing.
        predicted: their components.
        volume_mm3: of the lesion.
    """

    number: int
    present: Ids
    numbers: tuple[int, ...]
    predicted: Ids
    volume_mm3: float


def members(lesions: NDArray[np.uint32]) -> dict[int, Ids]:
    """The components of each lesion, from the lesion of each component; lesion 0 is none."""
    found: dict[int, list[int]] = {}
    for component, lesion in enumerate(lesions.tolist()):
        if lesion:
            found.setdefault(lesion, []).append(component)
    return {lesion: tuple(found[lesion]) for lesion in sorted(found)}


def volume_mm3(voxels: int, spacing_mm: Spacing) -> float:
    """Volume of so many voxels, multiplied in the official order: at a limit the last digit decides."""
    return voxels * spacing_mm[0] * spacing_mm[1] * spacing_mm[2]


def match(pair: RegionPair, present: NDArray[np.uint32], predicted: NDArray[np.uint32]) -> tuple[list[Match], int]:
    """Match predicted lesions to the lesions of the reference that they share voxels with or touch.

    A predicted lesion may be matched to many (quirk Y5: contact without overlap suffices; contact at a corner only
    does not).

    Args:
        pair: the region.
        present: the lesion of each component of the reference.
        predicted: the same for the prediction; 0 for those that are not looked at.

    Returns:
        The lesions of the reference by number, and the number of predicted lesions that match none (quirk Y6: a
        lesion too small to be scored still absorbs what it touches).
    """
    parts, matches = members(predicted), []
    for number, components in members(present).items():
        touched = {int(predicted[other]) for one in components for other in pair.touching.get(one, ())} - {0}
        numbers = tuple(sorted(touched))
        matched = tuple(sorted(component for other in numbers for component in parts[other]))
        volume = volume_mm3(int(pair.reference.sizes[list(components)].sum()), pair.spacing_mm)
        matches.append(Match(number, components, numbers, matched, volume))
    return matches, len(parts) - len({number for one in matches for number in one.numbers})


def counts(matches: Sequence[Match], false: int) -> dict[str, float]:
    """The official detection counts: found and missed among the lesions that are scored, and false ones."""
    scored = [bool(one.numbers) for one in matches if one.volume_mm3 > LARGEST_IGNORED_MM3]
    return {"Num_TP": float(sum(scored)), "Num_FP": float(false), "Num_FN": float(len(scored) - sum(scored))}


def lesion_score(values: Sequence[float], false: int, penalty: float, empty: float) -> float:
    """The mean of the scored lesions' values and of a penalty for each false one; ``empty`` where there is neither."""
    number = len(values) + false
    return (sum(values) + false * penalty) / number if number else empty


def sensitivity_and_specificity(hits: float, predicted: float, present: float, outside: float) -> dict[str, float]:
    """As the official codes have them (from GaNDLF): sensitivity is 1 where both masks are empty.

    Args:
        hits: voxels that both fill.
        predicted: sum over the prediction.
        present: sum over the reference.
        outside: voxels that neither fills.
    """
    tiny = sys.float_info.min
    sensitivity = 1.0 if predicted == 0 and present == 0 else hits / (hits + (present - hits) + tiny)
    return {"Sensitivity": sensitivity, "Specificity": outside / (outside + (predicted - hits) + tiny)}


def voxel_rates(pair: RegionPair) -> dict[str, float]:
    """Sensitivity and specificity of a region's voxels."""
    present, predicted, both = pair.voxels(*pair.everything)
    return sensitivity_and_specificity(both, predicted, present, pair.volume_voxels - (present + predicted - both))


def whole_dice(pair: RegionPair, present: Ids, predicted: Ids) -> float:
    """Dice of whole regions; 1 where both are empty."""
    return pair.dice(present, predicted) if present or predicted else 1.0


def whole_hd95(pair: RegionPair, present: Ids, predicted: Ids, penalty: float) -> float:
    """HD95 of whole regions; 0 where both are empty, the penalty where one is."""
    if not present and not predicted:
        return 0.0
    return finite(pair.element_distances(present, predicted).hausdorff(95), penalty)


def finite(distance: float, penalty: float) -> float:
    """The distance, or the penalty where it is infinite."""
    return penalty if distance == float("inf") else distance
