"""Folds for cross-validation in which no patient, and no head, is on both sides."""

from collections.abc import Mapping

import numpy as np


def grouped_folds(groups: Mapping[str, str], folds: int = 5, seed: int = 0) -> list[dict[str, list[str]]]:
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
