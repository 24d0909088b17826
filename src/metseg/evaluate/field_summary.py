"""Profile ``field``, all cases: detection, delineation, volume, panoptic quality, FROC and calibration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from metseg.core.errors import ConfigError
from metseg.evaluate.agreement import Agreement, agreement
from metseg.evaluate.bootstrap import Estimate
from metseg.evaluate.calibration import Calibration, calibration, reliability_sums
from metseg.evaluate.field_bins import FieldBin, by_diameter, by_volume
from metseg.evaluate.field_cohort import FieldCohort, defined
from metseg.evaluate.field_numbers import headline_numbers
from metseg.evaluate.field_records import FieldCase, FieldOptions, tolerance_key
from metseg.evaluate.froc import FrocCurve, FrocEvents, froc

STATUSES: Final = ("both_present", "reference_empty", "prediction_empty", "both_empty")


@dataclass(frozen=True)
class FieldSummary:
    """What papers report, each number with its interval.

    Args:
        counts: how many patients, cases, lesions … there are (docs/reference/evaluate-field.md names all).
        numbers: the headline numbers, by name (same page).
        by_diameter: by the reference's longest axial diameter.
        by_volume: by volume.
        lesion_volume: agreement of found lesions' volumes with those of their matched components, mm³.
        case_volume: agreement of the total volumes of cases that have any, mm³.
        froc: None without probabilities in every case.
        voxel_calibration: of voxels; None without probabilities in every case.
        component_calibration: of components' confidences: is a component of confidence 0.8 a lesion in 80 of 100
            cases; None without probabilities in every case.
        probabilities: whether ``all`` cases, ``some`` or ``none`` came with probabilities.
    """

    counts: dict[str, int]
    numbers: dict[str, Estimate]
    by_diameter: tuple[FieldBin, ...]
    by_volume: tuple[FieldBin, ...]
    lesion_volume: Agreement
    case_volume: Agreement
    froc: FrocCurve | None
    voxel_calibration: Calibration | None
    component_calibration: Calibration | None
    probabilities: str


def _counts(cohort: FieldCohort) -> dict[str, int]:
    lesions = cohort.per_patient(lambda case: len(case.lesions))
    statuses = [case.status for case in cohort.cases]
    return {
        "patients": len(cohort.patients),
        "lesion_free_patients": int((lesions == 0).sum()),
        "cases": len(cohort.cases),
        **{f"cases_{status}": statuses.count(status) for status in STATUSES},
        "lesions": int(lesions.sum()),
        "found": sum(case.found for case in cohort.cases),
        "components": sum(len(case.components) for case in cohort.cases),
        "false": sum(case.false for case in cohort.cases),
    }


def _lesion_volume(cohort: FieldCohort) -> Agreement:
    found = [(owner, lesion) for owner, lesion in cohort.lesions() if lesion.found]
    reference, owners = defined((owner, lesion.volume_mm3) for owner, lesion in found)
    prediction, _ = defined((owner, lesion.matched_volume_mm3) for owner, lesion in found)
    return agreement(reference, prediction, owners, cohort.resampling)


def _case_volume(cohort: FieldCohort) -> Agreement:
    def of_any(value: Callable[[FieldCase], float]) -> Callable[[FieldCase], float | None]:
        return lambda case: None if case.status == "both_empty" else value(case)

    reference, owners = cohort.case_values(of_any(lambda case: case.reference_volume_mm3))
    prediction, _ = cohort.case_values(of_any(lambda case: case.prediction_volume_mm3))
    return agreement(reference, prediction, owners, cohort.resampling)


def _froc(cohort: FieldCohort) -> FrocCurve:
    found = [(owner, lesion.confidence, True) for owner, lesion in cohort.lesions() if lesion.found]
    false = [(owner, one.confidence, False) for owner, one in cohort.components() if one.false]
    events = [(owner, confidence, kind) for owner, confidence, kind in found + false if confidence is not None]
    per_case = cohort.options.froc.per == "case"
    return froc(
        FrocEvents(
            confidences=np.array([confidence for _, confidence, _ in events], dtype=float),
            is_lesion=np.array([kind for *_, kind in events], dtype=bool),
            owners=np.array([owner for owner, *_ in events], dtype=np.int64),
            lesions=cohort.per_patient(lambda case: len(case.lesions)),
            exposures=cohort.per_patient(lambda _: 1) if per_case else np.ones(len(cohort.patients)),
        ),
        cohort.options.froc,
        cohort.resampling,
    )


def _calibrations(cohort: FieldCohort) -> tuple[Calibration | None, Calibration | None]:
    """Of voxels and of components."""
    owners = cohort.owners.tolist()
    voxels = [(owner, case.reliability) for owner, case in zip(owners, cohort.cases) if case.reliability is not None]
    components = []
    for owner, case in zip(owners, cohort.cases):
        sure = [(one.confidence, not one.false) for one in case.components if one.confidence is not None]
        probability, true = np.array([p for p, _ in sure], dtype=float), np.array([t for _, t in sure], dtype=bool)
        components.append((owner, reliability_sums(probability, true, cohort.options.calibration_bins)))
    return calibration(voxels, cohort.resampling), calibration(components, cohort.resampling)


def _check_tolerances(cohort: FieldCohort) -> None:
    wanted = {tolerance_key(tolerance) for tolerance in cohort.options.nsd_tolerances_mm}
    if any(not wanted <= lesion.nsd_border.keys() for _, lesion in cohort.lesions()):
        raise ConfigError(
            "Cases were scored with other surface tolerances than the summary asks for.",
            hint="Summarise with the options that the cases were scored with.",
        )


def summarise(cases: Sequence[tuple[str, FieldCase]], options: FieldOptions) -> FieldSummary:
    """Sum up cases, with intervals clustered by patient.

    Args:
        cases: patient and score of each case. Cases of one patient must bear the same name; patients without
            lesions belong in.
        options: as the cases were scored with.

    Raises:
        ConfigError: cases that were scored with other tolerances.
    """
    cohort = FieldCohort.of(cases, options)
    _check_tolerances(cohort)
    given = sum(case.reliability is not None for case in cohort.cases)
    everywhere = 0 < given == len(cases)
    voxels, components = _calibrations(cohort) if everywhere else (None, None)
    return FieldSummary(
        counts=_counts(cohort),
        numbers=headline_numbers(cohort),
        by_diameter=by_diameter(cohort),
        by_volume=by_volume(cohort),
        lesion_volume=_lesion_volume(cohort),
        case_volume=_case_volume(cohort),
        froc=_froc(cohort) if everywhere else None,
        voxel_calibration=voxels,
        component_calibration=components,
        probabilities="all" if everywhere else "some" if given else "none",
    )
