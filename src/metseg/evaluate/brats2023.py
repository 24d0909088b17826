"""BraTS-METS 2023: lesion-wise Dice and HD95, number for number as the challenge's script.

Source: BraTS-2023-Metrics at 43c9052, ``BraTS-MET``; Moawad et al., arXiv:2306.00838. Lesions are 26-connected
components, merged where the reference, dilated once with the 18-neighbourhood, joins them. The prediction is neither
merged nor filtered. A lesion's Dice and HD95 compare it, not dilated, with the union of all predicted components that
touch what is dilated. HD95: surface elements, 95 % of the area in each direction, the larger one.
"""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, UInt

from metseg.evaluate import lesionwise
from metseg.evaluate.lesionwise import LARGEST_IGNORED_MM3, BratsCase, Match, finite
from metseg.evaluate.pair import Case, RegionPair
from metseg.evaluate.regions import BINARY, OFFICIAL

REGIONS: Final = ("WT", "TC", "ET", "lesion")
PENALTY_MM: Final = 374.0


def score_case(
    prediction: UInt[np.ndarray, "i j k"] | Bool[np.ndarray, "i j k"],
    reference: UInt[np.ndarray, "i j k"] | Bool[np.ndarray, "i j k"],
    spacing_mm: Iterable[float],
    *,
    binary: bool = False,
) -> BratsCase:
    """Score one case.

    Args:
        prediction: label values 1 NETC, 2 SNFH, 3 ET, 4 RC; or a mask.
        reference: the same of the truth.
        spacing_mm: along i, j, k.
        binary: both are masks; scored as one region, ``"lesion"``.

    Returns:
        Scores by region WT, TC, ET, and the lesions of each. An infinite HD95 is 374 in ``regions``, and infinite in
        ``lesions``.

    Raises:
        InputError: shapes that differ, a spacing that is not positive, or label values that are not scored.
    """
    return score(Case.of(prediction, reference, spacing_mm, regions=BINARY if binary else OFFICIAL))


def score(case: Case) -> BratsCase:
    """Score a case that has been prepared; see ``score_case``."""
    pairs = {name: case.pairs[name] for name in REGIONS if name in case.pairs}
    found = {name: lesionwise.match(pair, pair.reference.merged, _numbers(pair)) for name, pair in pairs.items()}
    lesions = {name: [_lesion(pairs[name], one) for one in matches] for name, (matches, _) in found.items()}
    regions = {name: _region(pair, *found[name], lesions[name]) for name, pair in pairs.items()}
    return BratsCase(regions, lesions)


def _numbers(pair: RegionPair) -> Any:
    """Each predicted component is a lesion; numbered in the order k, j, i, in which the files are read."""
    return pair.prediction.by_first_in_k


def _lesion(pair: RegionPair, one: Match) -> dict[str, Any]:
    return {
        "predicted_lesion_numbers": list(one.numbers),
        "gt_lesion_numbers": one.number,
        "gt_lesion_vol": one.volume_mm3,
        "dice_lesionwise": pair.dice(one.present, one.predicted),
        "hd95_lesionwise": pair.element_distances(one.present, one.predicted).hausdorff(95),
    }


def _region(pair: RegionPair, matches: list[Match], false: int, lesions: list[dict[str, Any]]) -> dict[str, float]:
    scored = [lesion for lesion in lesions if lesion["gt_lesion_vol"] > LARGEST_IGNORED_MM3]
    dices = [lesion["dice_lesionwise"] for lesion in scored]
    distances = [finite(lesion["hd95_lesionwise"], PENALTY_MM) for lesion in scored]
    voxels = pair.voxels(*pair.everything)[0]
    return {
        **lesionwise.counts(matches, false),
        **lesionwise.voxel_rates(pair),
        "Legacy_Dice": lesionwise.whole_dice(pair, *pair.everything),
        "Legacy_HD95": lesionwise.whole_hd95(pair, *pair.everything, PENALTY_MM),
        "GT_Complete_Volume": lesionwise.volume_mm3(voxels, pair.spacing_mm),
        # Where there is no lesion to score and no false one, 0/0 counts as perfect.
        "LesionWise_Score_Dice": lesionwise.lesion_score(dices, false, penalty=0.0, empty=1.0),
        "LesionWise_Score_HD95": lesionwise.lesion_score(distances, false, penalty=PENALTY_MM, empty=0.0),
    }
