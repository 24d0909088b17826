"""BraTS-METS 2024: lesion-wise Dice, HD95 and NSD, number for number as the challenge's script.

Source: BraTS-2024-Metrics at f1131e3, ``metrics_MET.py``. As 2023 (``metseg.evaluate.brats2023``), and: resection
cavities (RC) are a region; the prediction is merged by dilation like the reference, then predicted lesions of at most
two voxels are deleted (quirk Y3: voxels, while the reference's limit is 2 mm³); ET lesions that touch one NETC lesion
are merged; the penalty is the diagonal of the volume in voxels. NSD: border voxels, mean of both directions.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, UInt
from numpy.typing import NDArray

from metseg.evaluate import lesionwise
from metseg.evaluate.instances import Components, contacts
from metseg.evaluate.lesionwise import LARGEST_IGNORED_MM3, BratsCase, Match, finite
from metseg.evaluate.pair import Case, Ids, RegionPair
from metseg.evaluate.regions import BINARY, OFFICIAL

REGIONS: Final = ("WT", "TC", "ET", "RC", "lesion")
LARGEST_DELETED_VOXELS: Final = 2
# Quirk Y10: added to the denominator of NSD, so that a perfect lesion scores 0.999999995.
_ADDED: Final = 1e-8
_FIELDS: Final = ("dice_lesionwise", "hd95_lesionwise", "nsd05_lesionwise", "nsd10_lesionwise")
Lesions = NDArray[np.uint32]


@dataclass(frozen=True)
class Brats2024Case(BratsCase):
    """The scores of one case.

    Args:
        regions: by region, then by the official code's field names.
        lesions: by region, for each lesion of the reference, by the official code's field names.
        legacy: scores of whole regions, by region, then by the official code's field names.
    """

    legacy: Mapping[str, Mapping[str, float]]


def score_case(
    prediction: UInt[np.ndarray, "i j k"] | Bool[np.ndarray, "i j k"],
    reference: UInt[np.ndarray, "i j k"] | Bool[np.ndarray, "i j k"],
    spacing_mm: Iterable[float],
    *,
    binary: bool = False,
) -> Brats2024Case:
    """Score one case.

    Args:
        prediction: label values 1 NETC, 2 SNFH, 3 ET, 4 RC; or a mask.
        reference: the same of the truth.
        spacing_mm: along i, j, k.
        binary: both are masks; scored as one region, ``"lesion"``, of which nothing is merged by NETC.

    Returns:
        Scores by region WT, TC, ET, RC, the lesions of each, and the legacy scores of whole regions.

    Raises:
        InputError: shapes that differ, a spacing that is not positive, or label values that are not scored.
    """
    return score(Case.of(prediction, reference, spacing_mm, regions=BINARY if binary else OFFICIAL))


def score(case: Case) -> Brats2024Case:
    """Score a case that has been prepared; see ``score_case``."""
    diagonal = math.sqrt(sum(length**2 for length in case.shape))
    regions, lesions, legacy = {}, {}, {}
    for name in (name for name in REGIONS if name in case.pairs):
        pair = case.pairs[name]
        present, predicted = _lesions_of(case, name)
        matches, false = lesionwise.match(pair, present, predicted)
        lesions[name] = [_lesion(pair, one, diagonal) for one in matches]
        regions[name] = {
            **lesionwise.counts(matches, false),
            **_kept_scores(pair, present, predicted, diagonal),
            **_lesion_scores(lesions[name], false, diagonal),
        }
        whole_hd95 = lesionwise.whole_hd95(pair, *pair.everything, diagonal)
        legacy[name] = {**lesionwise.voxel_rates(pair), **_whole_scores(pair, *pair.everything, whole_hd95)}
    return Brats2024Case(regions, lesions, legacy)


def _lesions_of(case: Case, region: str) -> tuple[Lesions, Lesions]:
    """The lesion of each component of a region's reference and prediction; 0 for what is deleted."""
    pair = case.pairs[region]
    present, predicted = pair.reference.merged, _without_small(pair.prediction)
    if region != "ET":
        return present, predicted
    core = case.pairs["NETC"]
    return (
        merge_by_core(present, core.reference.merged, _touching(pair.reference, core.reference)),
        merge_by_core(predicted, _without_small(core.prediction), _touching(pair.prediction, core.prediction)),
    )


def _without_small(prediction: Components) -> Lesions:
    """The lesion of each predicted component; those of at most two voxels are deleted, and leave gaps (quirk Y3)."""
    voxels = np.bincount(prediction.merged, weights=prediction.sizes)
    kept = voxels > LARGEST_DELETED_VOXELS
    return np.where(kept[prediction.merged], prediction.merged, 0).astype(np.uint32)


def _touching(enhancing: Components, core: Components) -> list[tuple[int, int]]:
    return list(zip(*(side.tolist() for side in contacts(enhancing, core))))


def merge_by_core(lesions: Lesions, cores: Lesions, touching: Iterable[tuple[int, int]]) -> Lesions:
    """Merge enhancing lesions that touch the same core.

    Quirk Y9: each goes to the lowest-numbered core it touches only, so chains are not joined: of A-1, B-1, B-2, C-2,
    A and B become one lesion, C stays alone.

    Args:
        lesions: the enhancing lesion of each component.
        cores: the same of the cores.
        touching: pairs of components, enhancing and core, that touch.

    Returns:
        The merged lesions, numbered without gaps.
    """
    both = {(int(lesions[one]), int(cores[other])) for one, other in touching}
    pairs = sorted(pair for pair in both if all(pair))
    numbers = {int(lesion): int(lesion) for lesion in lesions}
    # Quirk Y4: a single pair renumbers nothing. Numbers matter, see quirk Y1.
    if len(pairs) > 1:
        new: dict[int, int] = {}
        for _, core in pairs:
            new.setdefault(core, max(numbers) + 1 + len(new))
        # Going backwards leaves the lowest-numbered core of each.
        numbers.update({lesion: new[core] for lesion, core in reversed(pairs)})
    merged = np.array([numbers[lesion] for lesion in lesions.tolist()])
    return np.searchsorted(np.unique(np.append(merged, 0)), merged).astype(np.uint32)


def _nsd(pair: RegionPair, present: Ids, predicted: Ids, tolerance_mm: float) -> float:
    """1 where both are empty, 0 where one is."""
    if not present or not predicted:
        return float(not present and not predicted)
    return pair.border_distances(present, predicted, pair.spacing_mm).nsd(tolerance_mm, _ADDED)


def _lesion(pair: RegionPair, one: Match, diagonal: float) -> dict[str, Any]:
    distances = pair.element_distances(one.present, one.predicted)
    return {
        "predicted_lesion_numbers": list(one.numbers),
        "gt_lesion_numbers": one.number,
        "gt_lesion_vol": one.volume_mm3,
        "dice_lesionwise": pair.dice(one.present, one.predicted),
        "hd95_lesionwise": finite(distances.hausdorff(95), diagonal),
        "nsd05_lesionwise": _nsd(pair, one.present, one.predicted, 0.5),
        "nsd10_lesionwise": _nsd(pair, one.present, one.predicted, 1.0),
    }


def _lesion_scores(lesions: Sequence[Mapping[str, Any]], false: int, diagonal: float) -> dict[str, float]:
    """Means over lesions larger than 2 mm³ and false ones; where there is neither, 0/0 counts as perfect."""
    scored = [lesion for lesion in lesions if lesion["gt_lesion_vol"] > LARGEST_IGNORED_MM3]
    dice, hd95, nsd05, nsd10 = ([lesion[field] for lesion in scored] for field in _FIELDS)
    return {
        "LesionWise_Score_Dice": lesionwise.lesion_score(dice, false, penalty=0.0, empty=1.0),
        "LesionWise_Score_HD95": lesionwise.lesion_score(hd95, false, penalty=diagonal, empty=0.0),
        "LesionWise_Score_NSD @ 0.5": lesionwise.lesion_score(nsd05, false, penalty=0.0, empty=1.0),
        "LesionWise_Score_NSD @ 1.0": lesionwise.lesion_score(nsd10, false, penalty=0.0, empty=1.0),
    }


def _whole_scores(pair: RegionPair, present: Ids, predicted: Ids, hd95: float) -> dict[str, float]:
    return {
        "Legacy_Dice": lesionwise.whole_dice(pair, present, predicted),
        "Legacy_HD95": hd95,
        "Legacy NSD @ 0.5": _nsd(pair, present, predicted, 0.5),
        "Legacy NSD @ 1.0": _nsd(pair, present, predicted, 1.0),
        "GT_Complete_Volume": lesionwise.volume_mm3(pair.voxels(present, ())[0], pair.spacing_mm),
    }


def _kept_scores(pair: RegionPair, present: Lesions, predicted: Lesions, diagonal: float) -> dict[str, float]:
    """Scores of whole regions after small predicted lesions were deleted (quirk Y2), from maps of lesion numbers."""
    kept = tuple(np.flatnonzero(predicted).tolist())
    hd95 = 0.0
    if kept or pair.reference.count:
        # Quirk Y8: HD95 is fed lesion numbers instead of masks. In 8 bits, a code times a number above 1 is rarely
        # 255, so the inside of all lesions but the first counts as surface.
        hd95 = finite(pair.numbered_element_distances(present, predicted).hausdorff(95), diagonal)
    rates = _numbered_rates(pair, present, predicted)
    return {**rates, **_whole_scores(pair, pair.everything[0], kept, hd95)}


def _numbered_rates(pair: RegionPair, present: Lesions, predicted: Lesions) -> dict[str, float]:
    """Quirk Y1: sensitivity and specificity of lesion numbers instead of masks.

    What both maps call 1 is a hit; the sums of all numbers stand for the numbers of voxels. With more than one lesion
    this means nothing and depends on how lesions are numbered.
    """
    sizes = pair.reference.sizes, pair.prediction.sizes
    sums = [float((numbers * sizes[side]).sum()) for side, numbers in enumerate((present, predicted))]
    firsts = [tuple(np.flatnonzero(numbers == 1).tolist()) for numbers in (present, predicted)]
    ones, others, hits = pair.voxels(*firsts)
    outside = pair.volume_voxels - (ones + others - hits)
    return lesionwise.sensitivity_and_specificity(hits, sums[1], sums[0], outside)
