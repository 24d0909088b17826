"""Profile ``seed``: one Dice a case, as mean ± standard deviation and median, with the volume rule spelled out.

Papers print such a line ("0.74 ± 0.27, lesions of at least 100 mm³") without saying where the volume is measured.
Here components (26-connected) below ``min_volume_mm3`` are taken away from the reference, from the prediction, or from
both, and then Dice's coefficient 2·|A∩B| / (|A| + |B|) (Dice 1945) is taken over the voxels of the whole case.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
from jaxtyping import Bool
from pydantic import Field

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.core.options import Options
from metseg.evaluate.bootstrap import BootstrapOptions, Estimate, Resampling
from metseg.evaluate.cohort import patient_indices
from metseg.evaluate.inputs import as_grid, check_shapes
from metseg.lesions.components import drop_small, label_instances

Status = Literal["both_present", "reference_empty", "prediction_empty", "both_empty"]
EmptyPolicy = Literal["perfect", "leave_out"]
NO_SCORED_CASE: Final = "no_scored_case"
_ROUNDING: Final = 1e-9


class SeedOptions(Options):
    """The volume rule and the empty rule.

    Args:
        min_volume_mm3: components below this go; 0 keeps all.
        min_volume_on: from where they go.
        both_empty: a case without lesions on either side, after the volume rule: ``perfect`` (Dice 1) or
            ``leave_out`` of mean, SD and median (it is counted).
        bootstrap: of the intervals.
    """

    min_volume_mm3: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 100.0
    min_volume_on: Literal["reference", "prediction", "both"] = "reference"
    both_empty: EmptyPolicy = "perfect"
    bootstrap: BootstrapOptions = BootstrapOptions()


@dataclass(frozen=True)
class SeedCase:
    """One case.

    Args:
        dice: None if both sides are empty and such cases are left out.
        status: which side was empty after the volume rule.
        reference_volume_mm3: after the volume rule.
        prediction_volume_mm3: after the volume rule.
        dropped_reference: components taken away from the reference.
        dropped_prediction: components taken away from the prediction.
    """

    dice: float | None
    status: Status
    reference_volume_mm3: float
    prediction_volume_mm3: float
    dropped_reference: int
    dropped_prediction: int


@dataclass(frozen=True)
class SeedSummary:
    """Over cases.

    Args:
        mean: of the cases' Dice; its ``sd`` is the standard deviation (n - 1).
        median: of the same.
        cases: how many there are.
        patients: how many they are from.
        statuses: how many cases there are of each status.
    """

    mean: Estimate
    median: Estimate
    cases: int
    patients: int
    statuses: dict[str, int]


def _status(reference: int, prediction: int) -> Status:
    if reference and prediction:
        return "both_present"
    if prediction:
        return "reference_empty"
    return "prediction_empty" if reference else "both_empty"


def _kept(mask: Bool[np.ndarray, "i j k"], grid: Grid, min_volume_mm3: float) -> tuple[Bool[np.ndarray, "i j k"], int]:
    """What is left of a mask, and how many components went."""
    instances = label_instances(mask)
    # A component of just that volume stays, whatever rounding makes of the product.
    kept = drop_small(instances, grid, min_volume_mm3 * (1 - _ROUNDING))
    return kept > 0, int(instances.max(initial=0)) - int(kept.max(initial=0))


def score_case(
    prediction: Bool[np.ndarray, "i j k"],
    reference: Bool[np.ndarray, "i j k"],
    spacing_mm: tuple[float, float, float] | Grid,
    options: SeedOptions,
) -> SeedCase:
    """Dice of one case.

    Args:
        prediction: mask.
        reference: mask of the truth.
        spacing_mm: between voxels along i, j, k, or their grid.
        options: the volume rule and the empty rule.

    Raises:
        InputError: shapes that differ, or arrays that are no masks.
    """
    check_shapes(prediction=prediction, reference=reference)
    if prediction.dtype != bool or reference.dtype != bool:
        raise InputError("Profile seed needs masks (bool).", hint="Compare a label map with the labels you mean.")
    grid = as_grid(spacing_mm, reference.shape)
    gone = [0, 0]
    if options.min_volume_on != "prediction":
        reference, gone[0] = _kept(reference, grid, options.min_volume_mm3)
    if options.min_volume_on != "reference":
        prediction, gone[1] = _kept(prediction, grid, options.min_volume_mm3)
    sizes = int(np.count_nonzero(reference)), int(np.count_nonzero(prediction))
    shared = int(np.count_nonzero(reference & prediction))
    dice = 2 * shared / sum(sizes) if any(sizes) else (1.0 if options.both_empty == "perfect" else None)
    volumes = sizes[0] * grid.voxel_volume_mm3, sizes[1] * grid.voxel_volume_mm3
    return SeedCase(dice, _status(*sizes), *volumes, gone[0], gone[1])


def summarise(cases: Sequence[tuple[str, SeedCase]], options: SeedOptions) -> SeedSummary:
    """Mean ± SD and median over cases, with intervals clustered by patient.

    Args:
        cases: patient and score of each case.
        options: as the cases were scored with.
    """
    patients, of_case = patient_indices([patient for patient, _ in cases])
    scored = [(owner, case.dice) for owner, (_, case) in zip(of_case, cases, strict=True) if case.dice is not None]
    owners = np.array([owner for owner, _ in scored], dtype=np.int64)
    values = np.array([dice for _, dice in scored], dtype=np.float64)
    resampling = Resampling.draw(len(patients), options.bootstrap)
    return SeedSummary(
        mean=resampling.mean(values, owners, NO_SCORED_CASE),
        median=resampling.median(values, owners, NO_SCORED_CASE),
        cases=len(cases),
        patients=len(patients),
        statuses=dict(sorted(Counter(case.status for _, case in cases).items())),
    )
