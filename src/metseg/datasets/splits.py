"""Folds for cross-validation in which no patient, and no head, is on both sides."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from metseg.core.errors import InputError
from metseg.io.atomic import write_text

SPLITS: Final = "splits_final.json"
Fold = dict[str, list[str]]  # cases under train and val


def grouped_folds(groups: Mapping[str, str], folds: int = 5, seed: int = 0) -> list[Fold]:
    """Divide cases into folds, the cases of one group together, as nnU-Net's ``splits_final.json`` wants them.

    Args:
        groups: group (patient, head) of each case.
        folds: how many; fewer where there are fewer groups.
        seed: of the order in which groups of one size are dealt out.

    Returns:
        For each fold ``{"train": […], "val": […]}``; every case is in ``val`` once. None (an empty list) where all
        cases are of one group.
    """
    members: dict[str, list[str]] = {}
    for case, group in sorted(groups.items()):
        members.setdefault(group, []).append(case)
    names = np.random.default_rng(seed).permutation(sorted(members)).tolist()
    count = min(folds, len(names))
    if count < 2:
        return []
    held: list[list[str]] = [[] for _ in range(count)]
    for name in sorted(names, key=lambda n: -len(members[n])):  # largest first, to the emptiest fold
        min(held, key=len).extend(members[name])
    return [{"train": sorted(set(groups) - set(own)), "val": sorted(own)} for own in held]


def write_splits(dst: Path, groups: Mapping[str, str], folds: int = 5, seed: int = 0) -> list[Fold]:
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


def read_splits(dst: Path) -> list[Fold] | None:
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


def divided(fold: Fold, groups: Mapping[str, str]) -> list[str]:
    """Groups that are on both sides of a fold, sorted; cases without a group are left out."""
    train, val = ({groups[case] for case in fold[side] if case in groups} for side in ("train", "val"))
    return sorted(train & val)
