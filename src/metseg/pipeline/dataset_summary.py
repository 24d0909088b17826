"""What is written about a data set as a whole: description, manifest, findings, folds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from metseg import __version__
from metseg.core.errors import InputError
from metseg.datasets.layouts import LAYOUTS
from metseg.datasets.manifest import MASK, ManifestRow, leak_groups, patients_in, twins_in, write_manifest
from metseg.datasets.ready_case import Finding
from metseg.datasets.splits import divided, read_splits, write_splits
from metseg.io.atomic import write_text
from metseg.io.tables import csv_text
from metseg.pipeline.dataset_case import CaseEnd

FINDINGS: Final = "findings.csv"


def summarise(
    dst: Path,
    ends: Sequence[CaseEnd],
    findings: Sequence[Finding],
    *,
    sequences: Sequence[str],
    scheme: Mapping[int, str],
    title: str,
) -> None:
    """Write ``dataset.json``, the manifest, the findings, and folds unless those that are there fit.

    Raises:
        MetsegError: one cannot be written.
    """
    rows = [row for end in ends for row in end.rows]
    cases = labelled_cases(rows)
    about = f"{title}, imported by metseg {__version__}. The terms of the source apply."
    LAYOUTS["nnunet"].describe(dst, cases=cases, sequences=sequences, labels=scheme, about=about)
    write_manifest(dst, rows)
    plain = [{"case": f.case, "kind": f.kind, "message": f.message, "hint": f.hint} for f in findings]
    write_text(dst / FINDINGS, csv_text(["case", "kind", "message", "hint"], plain))
    groups = fold_groups(rows, cases)
    if not _splits_fit(dst, groups):
        write_splits(dst, groups)


def labelled_cases(rows: Sequence[ManifestRow]) -> list[str]:
    """Cases with a mask, sorted."""
    return sorted({row.case for row in rows if row.role == MASK})


def fold_groups(rows: Sequence[ManifestRow], cases: Sequence[str]) -> dict[str, str]:
    """What must not be divided: patients, and cases that hold the same voxels, whoever's they are called."""
    groups = leak_groups(patients_in(rows), twins_in(rows))
    return {case: groups[case] for case in cases}


def _splits_fit(dst: Path, groups: Mapping[str, str]) -> bool:
    """Are there folds already that hold just these cases, and divide no group?"""
    try:
        folds = read_splits(dst)
    except InputError:
        return False
    return folds is not None and all(
        sorted(fold["train"] + fold["val"]) == sorted(groups) and not divided(fold, groups) for fold in folds
    )
