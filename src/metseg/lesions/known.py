"""Lesions known from an earlier visit: what lies near them, and which of the lesions found touch one."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt, find_objects

from metseg.core.lesion import LesionTable
from metseg.core.volume import LabelMap
from metseg.lesions.components import Foreground

_ROUNDING_MM = 1e-6


def count_known(known: LabelMap) -> int:
    """How many known lesions there are, one number each."""
    return int(np.count_nonzero(Foreground.of(known.array).sizes()[1:]))


def near_known(known: LabelMap, distance_mm: float) -> NDArray[np.bool_]:
    """Voxels (i, j, k) whose centre lies at most ``distance_mm`` from that of a voxel of a known lesion."""
    result = np.zeros(known.grid.shape, dtype=bool)
    spacing = known.grid.spacing_mm
    # Lesion by lesion: they are few and small, and distances over the whole head take long.
    for box in filter(None, find_objects(known.array)):
        around = tuple(
            slice(max(0, part.start - reach), part.stop + reach)
            for part, reach in zip(box, (int(distance_mm / mm) + 1 for mm in spacing))
        )
        away_mm = distance_transform_edt(known.array[around] == 0, sampling=spacing)
        result[around] |= away_mm <= distance_mm + _ROUNDING_MM
    return result


def mark_known(instances: LabelMap, lesions: LesionTable, known: LabelMap) -> LesionTable:
    """Say of each lesion whether it touches a known one: shares a voxel with it, or a corner of one.

    Args:
        instances: numbered as in ``lesions``.
        lesions: what was found.
        known: lesions known from an earlier visit, on the same grid.
    """
    corners = np.ones((3, 3, 3), dtype=bool)
    marked = []
    for lesion in lesions:
        around = tuple(slice(max(0, first - 1), stop + 1) for first, stop in zip(*lesion.bbox_ijk))
        reached = binary_dilation(instances.array[around] == lesion.id, corners)
        marked.append(replace(lesion, known=bool((known.array[around][reached] != 0).any())))
    return LesionTable(tuple(marked))
