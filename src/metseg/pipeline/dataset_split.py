"""Divide a data set into folds anew, by patient."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from metseg.core.errors import InputError
from metseg.datasets.manifest import leak_groups, patients_in, read_manifest, twins_in
from metseg.datasets.nnunet_raw import read_raw_set
from metseg.datasets.splits import write_splits
from metseg.io.case_names import shown_name
from metseg.io.patients import patients_of


@dataclass(frozen=True)
class Split:
    """Folds that were written.

    Args:
        folds: cases on each side.
        groups: of each case: what was not divided.
    """

    folds: list[dict[str, list[str]]]
    groups: Mapping[str, str]


def split_dataset(folder: Path, *, folds: int = 5, seed: int = 0, patient_regex: str | None = None) -> Split:
    """Write ``splits_final.json``: cases of one patient, or with the same voxels, stay together.

    Args:
        folder: a data set in nnU-Net raw layout.
        folds: how many; fewer where there are fewer patients.
        seed: of the order in which patients are dealt out.
        patient_regex: finds the patient in a case's name; None: the manifest tells.

    Raises:
        InputError: it is no data set, its patients are unknown, or they are fewer than two.
    """
    raw = read_raw_set(folder)
    cases = sorted(raw.training.images)
    rows = read_manifest(folder)
    known = patients_of(cases, regex=patient_regex) if patient_regex is not None else patients_in(rows)
    if unknown := [case for case in cases if case not in known]:
        raise InputError(
            f"Nothing tells the patients of {len(unknown)} cases of {shown_name(folder)}, first of {unknown[0]}.",
            hint="Give --patient-regex, as '^([^_]+)_', or '.+' where each case is a patient of its own.",
        )
    groups = leak_groups({case: known[case] for case in cases}, twins_in(rows))
    if len(set(groups.values())) < 2:
        raise InputError(f"All cases of {shown_name(folder)} are of one patient: there is nothing to divide.")
    return Split(write_splits(folder, groups, folds, seed), groups)
