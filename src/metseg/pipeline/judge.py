"""One prediction judged against its reference, by all profiles wanted, on arrays prepared once."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from metseg.config.evaluation import JudgeOptions, Labels
from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.evaluate import brats2023, brats2024, brats2025, panoptic, surface
from metseg.evaluate import field as field_profile
from metseg.evaluate import seed as seed_profile
from metseg.evaluate.field import FieldCase
from metseg.evaluate.inputs import check_shapes
from metseg.evaluate.pair import Case
from metseg.evaluate.regions import BINARY, OFFICIAL, Regions, check_labels, region_mask
from metseg.evaluate.seed import SeedCase
from metseg.pipeline.judge_missing import failed_blocks, failed_field, failed_seed

# NETC alone is no region that is scored: it only joins lesions in 2024.
_SCORED: Final = ("WT", "TC", "ET", "RC", "lesion")


@dataclass(frozen=True)
class Judgement:
    """What became of one case.

    Args:
        blocks: scores as plain data, by the keys of evaluation.json.
        seed: of profile ``seed``, for the cohort.
        field: of profile ``field``, for the cohort.
    """

    blocks: Mapping[str, Any] = field(default_factory=dict)
    seed: SeedCase | None = None
    field: FieldCase | None = None


@dataclass(frozen=True, eq=False)
class _Sides:
    """Both label maps as the profiles want them.

    Args:
        labels: of prediction and reference, for the challenges' profiles.
        masks: what profile ``seed`` takes as lesion.
        instances: what profile ``field`` takes as lesions.
        regions: the label values of each region.
    """

    labels: tuple[NDArray[Any], NDArray[Any]]
    masks: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    instances: tuple[NDArray[Any], NDArray[Any]]
    regions: Regions


def judge_arrays(
    prediction: NDArray[Any] | None,
    reference: NDArray[Any],
    grid: Grid,
    options: JudgeOptions | None = None,
    probability: NDArray[Any] | None = None,
) -> Judgement:
    """Judge one case.

    Args:
        prediction: label values (i, j, k), unsigned; None for a missing prediction, which is a failure.
        reference: the same of the truth.
        grid: of both.
        options: which profiles, and their rules.
        probability: of lesion, in [0, 1]; gives confidences, FROC and calibration in profile ``field``.

    Raises:
        InputError: shapes that differ, or label values that are not scored.
    """
    options = options or JudgeOptions()
    missing = prediction is None
    sides = _sides(np.zeros_like(reference) if prediction is None else prediction, reference, options)
    seed, fields = _lesion_profiles(sides, grid, options, probability)
    blocks = _challenge_blocks(sides, grid, options)
    if missing:
        blocks = failed_blocks(blocks, reference.shape, options)
        seed, fields = failed_seed(seed), failed_field(fields)
    if seed is not None:
        blocks["seed"] = asdict(seed)
    if fields is not None:
        blocks["field"] = asdict(fields)
    return Judgement(blocks, seed, fields)


def lesion_region(options: JudgeOptions) -> str:
    """The region that profiles ``seed`` and ``field`` judge."""
    return options.region if options.labels == "brats" else "lesion"


def _sides(prediction: NDArray[Any], reference: NDArray[Any], options: JudgeOptions) -> _Sides:
    check_shapes(prediction=prediction, reference=reference)
    both = prediction, reference
    if options.labels == "brats":
        for array, name in zip(both, ("prediction", "reference")):
            check_labels(array[array > 0], OFFICIAL, name)
        masks = region_mask(prediction, options.region), region_mask(reference, options.region)
        return _Sides(both, masks, masks, OFFICIAL)
    if options.labels == "binary":
        for array, name in zip(both, ("prediction", "reference")):
            _check_binary(array, name)
    masks = prediction > 0, reference > 0
    plain = masks[0].astype(np.uint8), masks[1].astype(np.uint8)
    return _Sides(plain, masks, both if options.labels == "instances" else masks, BINARY)


def _check_binary(array: NDArray[Any], name: str) -> None:
    unknown = np.unique(array[array > 1])
    if unknown.size:
        values = ", ".join(map(str, unknown[:10].tolist())) + (" …" if unknown.size > 10 else "")
        raise InputError(
            f"The {name} is no mask of 0 and 1: it has the values {values}.",
            hint="Use --labels brats, any or instances, by what the values mean.",
        )


def _lesion_profiles(
    sides: _Sides, grid: Grid, options: JudgeOptions, probability: NDArray[Any] | None
) -> tuple[SeedCase | None, FieldCase | None]:
    seed = fields = None
    if "seed" in options.profiles:
        seed = seed_profile.score_case(*sides.masks, grid, options.seed)
    if "field" in options.profiles:
        fields = field_profile.score_case(*sides.instances, grid, options.field, probability)
    return seed, fields


def _challenge_blocks(sides: _Sides, grid: Grid, options: JudgeOptions) -> dict[str, Any]:
    wanted = set(options.profiles) - {"seed", "field"}
    if not wanted:
        return {}
    case = Case.of(*sides.labels, _stored_spacing(grid), regions=sides.regions)
    regions = {name: case.pairs[name] for name in _SCORED if name in case.pairs}
    blocks: dict[str, Any] = {}
    if "brats2023" in wanted:
        old = brats2023.score(case)
        blocks |= {"brats2023": dict(old.regions), "brats2023_lesions": dict(old.lesions)}
    if "brats2024" in wanted:
        new = brats2024.score(case)
        blocks |= {"brats2024": dict(new.regions), "brats2024_lesions": dict(new.lesions)}
        blocks["brats2024_legacy"] = dict(new.legacy)
    if "brats2025" in wanted:
        newest = brats2025.score(case, **options.brats2025.model_dump())
        blocks |= {"brats2025": dict(newest.row), "brats2025_raw": dict(newest.raw)}
    if "surface" in wanted:
        blocks["surface"] = {name: surface.block_of(pair) for name, pair in regions.items()}
    if "panoptic" in wanted:
        blocks["panoptic"] = {name: panoptic.blocks_of(pair) for name, pair in regions.items()}
    return blocks


def _stored_spacing(grid: Grid) -> tuple[float, float, float]:
    """In single precision, as headers hold it, so that volumes at a limit fall where they fall in official codes."""
    i, j, k = (float(np.float32(length)) for length in grid.spacing_mm)
    return i, j, k


def label_meaning(labels: Labels) -> str:
    """What label values mean, in words."""
    return {
        "brats": "1 NETC, 2 SNFH, 3 ET, 4 RC",
        "binary": "1 lesion",
        "any": "every value above 0 is lesion",
        "instances": "every value above 0 is a lesion of its own",
    }[labels]
