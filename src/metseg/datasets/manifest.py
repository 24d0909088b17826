"""The manifest of a data set: one row a file, whence it came, and what makes it known again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from metseg.core.errors import InputError
from metseg.io.atomic import write_text
from metseg.io.tables import csv_text, read_table

MANIFEST: Final = "manifest.csv"
MASK: Final = "mask"


@dataclass(frozen=True)
class ManifestRow:
    """One file of a data set.

    Args:
        case: its name.
        set: layout that it came of.
        patient: whose it is.
        time_point: which visit.
        role: sequence, or ``"mask"``.
        file: from the data set's folder on.
        file_sha256: over its bytes.
        source: from the source's folder on; several masks are divided by ``|``.
        source_sha256: over their bytes, likewise.
        voxels_sha256: over the image's voxels as they came (``ready_case.voxels_sha256``); empty for masks.
        size: voxels along i, j, k, as ``240x240x155``.
        spacing_mm: along i, j, k, likewise.
        labels: of masks: voxels of each label, as ``1:532 3:20``.
        lesions: of masks: connected components.
    """

    case: str
    set: str
    patient: str
    time_point: str
    role: str
    file: str
    file_sha256: str
    source: str
    source_sha256: str
    voxels_sha256: str
    size: str
    spacing_mm: str
    labels: str = ""
    lesions: str = ""


COLUMNS: Final = tuple(field.name for field in fields(ManifestRow))


def write_manifest(folder: Path, rows: Iterable[ManifestRow]) -> None:
    """Write the manifest of a data set.

    Raises:
        MetsegError: it cannot be written.
    """
    plain: list[Mapping[str, Any]] = [vars(row) for row in rows]
    write_text(folder / MANIFEST, csv_text(COLUMNS, plain))


def read_manifest(folder: Path) -> list[ManifestRow]:
    """The manifest of a data set; empty where it has none.

    Raises:
        InputError: it cannot be read, or lacks a column.
    """
    if not (folder / MANIFEST).is_file():
        return []
    rows = read_table(folder / MANIFEST, required=COLUMNS)
    if any(not row["case"] or not row["file"] for row in rows):
        raise InputError(f"A row of {MANIFEST} names no case or no file.", hint="Import the data set again.")
    return [ManifestRow(**{column: row[column] for column in COLUMNS}) for row in rows]


def patients_in(rows: Sequence[ManifestRow]) -> dict[str, str]:
    """The patient of each case."""
    return {row.case: row.patient for row in rows}


def twins_in(rows: Sequence[ManifestRow]) -> list[tuple[str, ...]]:
    """Groups of cases of which an image holds the same voxels, each sorted; cases in several are told once."""
    by_voxels: dict[str, set[str]] = {}
    for row in rows:
        if row.voxels_sha256:
            by_voxels.setdefault(row.voxels_sha256, set()).add(row.case)
    return sorted({tuple(sorted(cases)) for cases in by_voxels.values() if len(cases) > 1})


def leak_groups(patients: Mapping[str, str], twins: Iterable[Sequence[str]]) -> dict[str, str]:
    """A group for each case, such that cases of one patient, and cases with the same voxels, are in one.

    Args:
        patients: of each case.
        twins: groups of cases with the same voxels.

    Returns:
        The first patient's name of each group, by case.
    """
    head = {patient: patient for patient in patients.values()}

    def first(patient: str) -> str:
        while head[patient] != patient:
            patient = head[patient]
        return patient

    for cases in twins:
        heads = sorted({first(patients[case]) for case in cases if case in patients})
        head.update(dict.fromkeys(heads, heads[0]) if heads else {})
    return {case: first(patient) for case, patient in patients.items()}
