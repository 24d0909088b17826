"""Profile ``field``, the headline numbers of a cohort: detection, delineation, volume and panoptic quality."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from metseg.evaluate.bootstrap import Estimate, divide
from metseg.evaluate.field_cohort import FieldCohort, defined
from metseg.evaluate.field_records import FieldCase, FieldOptions, LesionScore, tolerance_key
from metseg.evaluate.froc import NO_REFERENCE_LESION

Array = NDArray[np.float64]
Measure = Callable[[LesionScore], float | None]
NO_COMPONENT: Final = "no_component"
NO_LESION_AND_NO_COMPONENT: Final = "no_lesion_and_no_component"
NO_PATIENT_WITH_LESIONS: Final = "no_patient_with_lesions"
NO_LESION_FREE_PATIENT: Final = "no_lesion_free_patient"
NO_FOUND_LESION: Final = "no_found_lesion"
NO_CASE: Final = "no_case"
NO_PANOPTIC_MATCH: Final = "no_pair_above_iou_0.5"


def headline_numbers(cohort: FieldCohort) -> dict[str, Estimate]:
    """All numbers, by the names in docs/reference/evaluate-field.md, each with its interval."""
    return {**_detection(cohort), **_delineation(cohort), **_per_case(cohort), **_panoptic(cohort)}


def _f1(sums: Array) -> Array:
    lesions, found, components, false = np.moveaxis(sums, -1, 0)
    sensitivity = np.nan_to_num(divide(found, lesions))
    ppv = np.nan_to_num(divide(components - false, components))
    f1 = np.nan_to_num(divide(2 * sensitivity * ppv, sensitivity + ppv))
    return np.where(lesions + components > 0, f1, np.nan)


def _detection(cohort: FieldCohort) -> dict[str, Estimate]:
    """Sensitivity, PPV, F1 and false components, per lesion, per patient and per case."""
    draw = cohort.resampling
    lesions = cohort.per_patient(lambda case: len(case.lesions))
    found = cohort.per_patient(lambda case: case.found)
    components = cohort.per_patient(lambda case: len(case.components))
    false = cohort.per_patient(lambda case: case.false)
    cases = cohort.per_patient(lambda _: 1)
    ill, free = (lesions > 0).astype(float), (lesions == 0).astype(float)
    of_ill = np.flatnonzero(ill)
    counts = np.stack((lesions, found, components, false), axis=1)
    return {
        "sensitivity_per_lesion": draw.ratio(found, lesions, NO_REFERENCE_LESION),
        "sensitivity_per_patient": draw.mean(found[of_ill] / lesions[of_ill], of_ill, NO_PATIENT_WITH_LESIONS),
        "patients_any_found": draw.ratio((found > 0) * ill, ill, NO_PATIENT_WITH_LESIONS),
        "patients_all_found": draw.ratio((found == lesions) * ill, ill, NO_PATIENT_WITH_LESIONS),
        "ppv": draw.ratio(components - false, components, NO_COMPONENT),
        "f1": draw.of_sums(counts, _f1, round(float((lesions + components).sum())), NO_LESION_AND_NO_COMPONENT),
        "fp_per_patient": draw.ratio(false, np.ones_like(false), NO_CASE),
        "fp_per_case": draw.ratio(false, cases, NO_CASE),
        "fp_per_lesion_free_patient": draw.ratio(false * free, free, NO_LESION_FREE_PATIENT),
        "specificity_per_patient": draw.ratio((false == 0) * free, free, NO_LESION_FREE_PATIENT),
    }


def _panoptic(cohort: FieldCohort) -> dict[str, Estimate]:
    """SQ, RQ and PQ over the lesions of all cases."""
    parts: tuple[Callable[[FieldCase], float], ...] = (
        lambda case: case.panoptic.true,
        lambda case: case.panoptic.false,
        lambda case: case.panoptic.missed,
        lambda case: case.panoptic.iou,
    )
    sums = np.stack([cohort.per_patient(part) for part in parts], axis=1)
    n = round(float(sums[:, :3].sum()))

    def whole(s: Array) -> Array:
        return np.asarray(s[..., 0] + (s[..., 1] + s[..., 2]) / 2)

    draw, nothing = cohort.resampling, NO_LESION_AND_NO_COMPONENT
    return {
        "sq": draw.of_sums(
            sums, lambda s: divide(s[..., 3], s[..., 0]), round(float(sums[:, 0].sum())), NO_PANOPTIC_MATCH
        ),
        "rq": draw.of_sums(sums, lambda s: divide(s[..., 0], whole(s)), n, nothing),
        "pq": draw.of_sums(sums, lambda s: divide(s[..., 3], whole(s)), n, nothing),
    }


def _measures(options: FieldOptions) -> Iterator[tuple[str, Measure, bool]]:
    """Name of a lesion's measure, the measure, and whether a missed lesion has it too."""
    yield "dice", lambda lesion: lesion.dice, True
    for key in map(tolerance_key, options.nsd_tolerances_mm):
        yield f"nsd_border_{key}mm", partial(_nsd, "nsd_border", key), True
        yield f"nsd_element_{key}mm", partial(_nsd, "nsd_element", key), True
    yield "hd95_mm", lambda lesion: lesion.hd95_mm, False
    yield "volume_error_mm3", lambda lesion: lesion.volume_error_mm3, True
    yield "volume_error_percent", lambda lesion: 100 * lesion.volume_error_mm3 / lesion.volume_mm3, True


def _nsd(family: str, key: str, lesion: LesionScore) -> float:
    return float(getattr(lesion, family)[key])


def _delineation(cohort: FieldCohort) -> dict[str, Estimate]:
    """Means and medians of the lesions' measures, of found lesions alone and of all."""
    lesions, found = cohort.lesions(), [(owner, lesion) for owner, lesion in cohort.lesions() if lesion.found]
    numbers = {}
    for name, measure, of_missed in _measures(cohort.options):
        groups = [("found_lesion", found, NO_FOUND_LESION), ("lesion", lesions, NO_REFERENCE_LESION)]
        for group, members, reason in groups[: 2 if of_missed else 1]:
            values, owners = defined((owner, measure(lesion)) for owner, lesion in members)
            numbers[f"{group}_{name}_mean"] = cohort.resampling.mean(values, owners, reason)
            numbers[f"{group}_{name}_median"] = cohort.resampling.median(values, owners, reason)
    return numbers


def _per_case(cohort: FieldCohort) -> dict[str, Estimate]:
    """Means and medians over cases."""
    measures: dict[str, Callable[[FieldCase], float | None]] = {
        "case_dice": lambda case: case.dice,
        "case_f1": lambda case: case.f1,
        "case_volume_error_mm3": lambda case: case.prediction_volume_mm3 - case.reference_volume_mm3,
    }
    numbers = {}
    for name, measure in measures.items():
        values = cohort.case_values(measure)
        numbers[f"{name}_mean"] = cohort.resampling.mean(*values, NO_CASE)
        numbers[f"{name}_median"] = cohort.resampling.median(*values, NO_CASE)
    return numbers
