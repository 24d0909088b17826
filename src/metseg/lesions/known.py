"""Lesions known from an earlier visit: what lies near them, and which of them and of the lesions found touch."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt, find_objects

from metseg.core.lesion import KnownLesion, Lesion, LesionTable
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


def measure_known(mask: LabelMap, prior: LabelMap) -> tuple[KnownLesion, ...]:
    """What a mask tells of the lesions of an earlier visit, and how far they reach a study.

    Args:
        mask: one number a lesion, on its own grid.
        prior: the same, brought to the study's grid.

    Returns:
        The lesions by their numbers.
    """
    voxels = Foreground.of(mask.array)
    order = np.argsort(voxels.values, kind="stable")
    numbers, starts = np.unique(voxels.values[order], return_index=True)
    indices = np.stack(np.unravel_index(voxels.places[order], voxels.shape), axis=1)
    places = np.round(prior.grid.to_index(mask.grid.to_world(indices))).astype(np.int64)
    inside = np.all((places >= 0) & (places < prior.grid.shape), axis=1)
    own = set(np.unique(prior.array).tolist())
    result = []
    for number, part in zip(numbers.tolist(), np.split(np.arange(order.size), starts[1:])):
        x, y, z = mask.grid.to_world(indices[part].mean(axis=0)).tolist()
        reaching = places[part][inside[part]]
        instead = int(prior.array[tuple(reaching[0])]) if len(reaching) else 0
        result.append(
            KnownLesion(
                id=number,
                volume_mm3=len(part) * mask.grid.voxel_volume_mm3,
                centre_mm=(x, y, z),
                share_inside=len(reaching) / len(part),
                value=number if number in own else instead,
            )
        )
    return tuple(result)


def match_known(
    instances: LabelMap, lesions: LesionTable, prior: LabelMap, known: Sequence[KnownLesion]
) -> tuple[LesionTable, tuple[KnownLesion, ...]]:
    """Say of each lesion whether it touches a known one (shares a voxel with it, or a corner of one), and the reverse.

    A lesion gets the tracking UID of the largest known one that it touches and no larger lesion took it from.

    Args:
        instances: numbered as in ``lesions``.
        lesions: what was found.
        prior: lesions known from an earlier visit, on the same grid.
        known: the same as they were measured.

    Returns:
        The lesions, and the known ones.
    """
    corners = np.ones((3, 3, 3), dtype=bool)
    marked: list[Lesion] = []
    touched: set[int] = set()
    # Largest first: of a lesion that fell apart the largest part keeps the name, of several that grew together the
    # largest one's counts.
    names: dict[int, str] = {}
    for one in known:
        if one.tracking_uid and one.value:
            names.setdefault(one.value, one.tracking_uid)
    for lesion in lesions:
        around = tuple(slice(max(0, first - 1), stop + 1) for first, stop in zip(*lesion.bbox_ijk))
        reached = binary_dilation(instances.array[around] == lesion.id, corners)
        values = set(prior.array[around][reached].tolist()) - {0}
        value = next((value for value in names if value in values), None)
        name = None if value is None else names.pop(value)
        marked.append(replace(lesion, known=bool(values), tracking_uid=name))
        touched |= values
    return LesionTable(tuple(marked)), tuple(replace(one, found=one.value in touched) for one in known)
