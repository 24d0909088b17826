"""What is written about a data set as a whole: description, manifest, findings, folds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from metseg import __version__
from metseg.core.errors import InputError
from metseg.datasets.layouts import LAYOUTS
from metseg.datasets.manifest import MASK, ManifestRow, leak_groups, patients_in, twins_in, write_manifest
from metseg.datasets.nnunet_raw import SPLITS
from metseg.datasets.ready_case import Finding
from metseg.datasets.splits import grouped_folds
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


def write_splits(dst: Path, groups: Mapping[str, str], folds: int = 5, seed: int = 0) -> list[dict[str, list[str]]]:
    """Write ``splits_final.json``; where all cases are of one group, there is none.

    Returns:
        The folds.

    Raises:
        MetsegError: it cannot be written.
    """
    made = grouped_folds(groups, folds, seed)
    if made:
        write_text(dst / SPLITS, json.dumps(made, indent=2) + "\n")
    else:
        (dst / SPLITS).unlink(missing_ok=True)
    return made


def read_splits(dst: Path) -> list[dict[str, list[str]]] | None:
    """The folds of a data set; None where it has none.

    Raises:
        InputError: they cannot be read.
    """
    path = dst / SPLITS
    if not path.exists():
        return None
    try:
        folds = json.loads(path.read_text(encoding="utf-8"))
        return [{side: [str(case) for case in fold[side]] for side in ("train", "val")} for fold in folds]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{SPLITS} cannot be read as folds.", hint="Write it again with metseg datasets split."
        ) from error


def divided(fold: Mapping[str, Sequence[str]], groups: Mapping[str, str]) -> list[str]:
    """Groups that are on both sides of a fold, sorted; cases without a group are left out."""
    train, val = ({groups[case] for case in fold[side] if case in groups} for side in ("train", "val"))
    return sorted(train & val)


def _splits_fit(dst: Path, groups: Mapping[str, str]) -> bool:
    """Are there folds already that hold just these cases, and divide no group?"""
    try:
        folds = read_splits(dst)
    except InputError:
        return False
    return folds is not None and all(
        sorted(fold["train"] + fold["val"]) == sorted(groups) and not divided(fold, groups) for fold in folds
    )
