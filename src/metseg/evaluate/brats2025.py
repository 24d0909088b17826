"""BraTS-METS 2025: panoptica's scores of each region, and the leaderboard's columns made from them.

Source: BraTS_evaluation (configuration ``mets``) on panoptica 2.1.7. Instances are 26-connected components; nothing is
dilated. They are matched one to one so that the sum of Dice is largest, over pairs with Dice of at least 1e-6. HD95
and NSD: border voxels, of both directions pooled and as the mean of both; tolerance: the smallest spacing.
The leaderboard's columns: ``metseg.evaluate.leaderboard``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, UInt
from numpy.typing import NDArray

from metseg.evaluate import panoptic
from metseg.evaluate.leaderboard import Parser, aggregate, leaderboard_row, missing_row
from metseg.evaluate.pair import Case, RegionPair
from metseg.evaluate.panoptic import Matcher
from metseg.evaluate.regions import BINARY, OFFICIAL

__all__ = ["Brats2025Case", "aggregate", "missing_row", "score", "score_case"]

REGIONS: Final[Mapping[str, str]] = {"et": "ET", "rc": "RC", "tc": "TC", "wt": "WT", "lesion": "lesion"}
_MATCHER: Final = Matcher("bipartite", "dsc", 1e-6)
_INFINITE: Final = float("inf")


@dataclass(frozen=True)
class Brats2025Case:
    """The scores of one case.

    Args:
        raw: by region (``"et"``, ``"rc"``, ``"tc"``, ``"wt"``), panoptica's fields; ``reference_instances`` is a list
            with the fields of each lesion of the reference, matched ones first.
        row: the leaderboard's columns.
    """

    raw: Mapping[str, Mapping[str, Any]]
    row: Mapping[str, float]


def score_case(
    prediction: UInt[np.ndarray, "i j k"] | Bool[np.ndarray, "i j k"],
    reference: UInt[np.ndarray, "i j k"] | Bool[np.ndarray, "i j k"],
    spacing_mm: Iterable[float],
    parser: Parser = "pypi_0.0.8",
    large_mm3: float = 27.0,
    overlap: float = 0.2,
    *,
    file_quirk: bool = True,
    binary: bool = False,
) -> Brats2025Case:
    """Score one case.

    Args:
        prediction: label values 1 NETC, 2 SNFH, 3 ET, 4 RC; or a mask.
        reference: the same of the truth.
        spacing_mm: along i, j, k.
        parser: whose columns; they differ (quirks B1 and B2 in ``metseg.evaluate.leaderboard``).
        large_mm3: least volume of a large lesion; the leaderboard's 27, or 20, the parser's default.
        overlap: Dice from which a lesion counts as detected; the leaderboard's 0.2, or 0.1, the parser's default.
        file_quirk: quirk P1. The official evaluator reads files with SimpleITK: axes come as k, j, i, but their
            spacing stays in the order i, j, k. Where voxels are not cubic, HD95 and NSD are wrong. False: as if it
            had been given arrays with their right spacing.
        binary: both are masks; scored as one region, ``"lesion"``.

    Raises:
        InputError: shapes that differ, a spacing that is not positive, or label values that are not scored.
    """
    case = Case.of(prediction, reference, spacing_mm, regions=BINARY if binary else OFFICIAL)
    return score(case, parser, large_mm3, overlap, file_quirk=file_quirk)


def score(
    case: Case,
    parser: Parser = "pypi_0.0.8",
    large_mm3: float = 27.0,
    overlap: float = 0.2,
    *,
    file_quirk: bool = True,
) -> Brats2025Case:
    """Score a case that has been prepared; see ``score_case``."""
    raw = {
        name: _region(case.pairs[region], file_quirk=file_quirk)
        for name, region in REGIONS.items()
        if region in case.pairs
    }
    return Brats2025Case(raw, leaderboard_row(raw, parser, large_mm3, overlap))


def _region(pair: RegionPair, *, file_quirk: bool) -> dict[str, Any]:
    present, predicted = _numbers(pair, file_quirk=file_quirk)
    matches = panoptic.match(pair, _MATCHER, present, predicted)
    x, y, z = pair.spacing_mm
    matched = [_matched(pair, one, other, (z, y, x) if file_quirk else (x, y, z)) for one, other in matches]
    missed = sorted(set(pair.everything[0]) - {one for one, _ in matches}, key=lambda one: int(present[one]))
    block: dict[str, Any] = panoptic.counts(pair, len(matched))
    for metric, unmatched in (("dsc", 0.0), ("hd95", _INFINITE), ("nsd", 0.0)):
        mean, std = panoptic.mean_and_std(pair, [lesion[f"sq_{metric}"] for lesion in matched], unmatched)
        block |= {f"sq_{metric}": mean, f"sq_{metric}_std": std}
        if metric == "dsc":
            block["pq_dsc"] = mean * block["rq"]
    for metric in ("voxel_count", "volume"):
        values = [lesion[metric] for lesion in matched]
        block[f"instance_{metric}_ref"] = float(np.mean(values)) if values else float("nan")
    rows = matched + [{**_size(pair, one), "is_matched": 0} for one in missed]
    return {**block, **_global(pair), "reference_instances": rows}


def _numbers(pair: RegionPair, *, file_quirk: bool) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """How the components are numbered: in the order of the axes of what panoptica is given. Decides between ties."""
    if file_quirk:
        return pair.reference.by_first_in_k, pair.prediction.by_first_in_k
    return pair.reference.numbers, pair.prediction.numbers


def _size(pair: RegionPair, one: int) -> dict[str, float]:
    voxels = int(pair.reference.sizes[one])
    return {"voxel_count": voxels, "volume": voxels * float(np.prod(pair.spacing_mm))}


def _matched(pair: RegionPair, one: int, other: int, spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    distances = pair.border_distances((one,), (other,), spacing_mm)
    return {
        "sq_dsc": panoptic.overlap(pair, "dsc", one, other),
        "sq_hd95": distances.hd95(),
        "sq_nsd": distances.nsd(min(spacing_mm)),
        **_size(pair, one),
        "is_matched": 1,
    }


def _global(pair: RegionPair) -> dict[str, float]:
    """Scores of the whole region.

    Quirk P2: spacing is ignored, so HD95 is in voxels, and the tolerance of NSD is half a voxel. Where no voxel is
    shared they are 0, infinite and 0, however near; where both are empty, NaN.
    """
    present, predicted, both = pair.voxels(*pair.everything)
    block: dict[str, float] = {"global_bin_volume_pred": predicted, "global_bin_volume_ref": present}
    if not both:
        nothing = float("nan")
        empty = not present and not predicted
        scores = (nothing, nothing, nothing) if empty else (0.0, _INFINITE, 0.0)
    else:
        distances = pair.border_distances(*pair.everything, (1.0, 1.0, 1.0))
        scores = pair.dice(*pair.everything), distances.hd95(), distances.nsd(0.5)
    return {**block, **dict(zip(("global_bin_dsc", "global_bin_hd95", "global_bin_nsd"), scores))}
