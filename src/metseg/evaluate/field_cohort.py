"""The cases of a cohort as flat arrays: what every number of profile ``field`` is a sum or a median of."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metseg.evaluate.bootstrap import Resampling
from metseg.evaluate.cohort import patient_indices
from metseg.evaluate.field_records import ComponentScore, FieldCase, FieldOptions, LesionScore

Array = NDArray[np.float64]
Owners = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FieldCohort:
    """Cases, whose they are, and the resamples of their patients.

    Args:
        cases: one after the other.
        patients: names, sorted.
        owners: index of each case's patient.
        resampling: of the patients.
        options: as the cases were scored with.
    """

    cases: tuple[FieldCase, ...]
    patients: tuple[str, ...]
    owners: Owners
    resampling: Resampling
    options: FieldOptions

    @classmethod
    def of(cls, cases: Sequence[tuple[str, FieldCase]], options: FieldOptions) -> "FieldCohort":
        """Sort cases by patient's name, and draw the resamples."""
        patients, owners = patient_indices([patient for patient, _ in cases])
        resampling = Resampling.draw(len(patients), options.bootstrap)
        return cls(tuple(case for _, case in cases), patients, owners, resampling, options)

    def lesions(self) -> list[tuple[int, LesionScore]]:
        """All lesions, each with the index of its patient."""
        return [(int(owner), lesion) for owner, case in zip(self.owners, self.cases) for lesion in case.lesions]

    def components(self) -> list[tuple[int, ComponentScore]]:
        """All components, each with the index of its patient."""
        return [(int(owner), one) for owner, case in zip(self.owners, self.cases) for one in case.components]

    def per_patient(self, count: Callable[[FieldCase], float]) -> Array:
        """The sum of a number over each patient's cases."""
        return np.bincount(self.owners, [count(case) for case in self.cases], len(self.patients)).astype(float)

    def case_values(self, value: Callable[[FieldCase], float | None]) -> tuple[Array, Owners]:
        """A number of each case that has it, and the owners."""
        return defined((int(owner), value(case)) for owner, case in zip(self.owners, self.cases))


def defined(values: Iterable[tuple[int, float | None]]) -> tuple[Array, Owners]:
    """Owned numbers as two arrays, numbers and owners; those that are None left out."""
    kept = [(owner, value) for owner, value in values if value is not None]
    return np.array([value for _, value in kept], dtype=float), np.array([o for o, _ in kept], dtype=np.int64)
