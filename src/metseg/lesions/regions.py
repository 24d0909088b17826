"""Which part of the brain lies at a point of the template's world.

A partition of our own: borders are those of the textbooks (Duvernoy, The Human Brain, 2nd ed. 1999; Ono, Kubik and
Abernathey, Atlas of the Cerebral Sulci, 1990): the central sulcus between frontal and parietal lobe, the lateral
fissure and its extension backwards above the temporal lobe, the parieto-occipital sulcus and a line from it to the
preoccipital notch in front of the occipital lobe, the tentorium above the cerebellum. Their courses were read, to some
3 mm, off the symmetric ICBM 152 nonlinear average of 2009 (Fonov et al., NeuroImage 2011;54:313), where they can be
seen; the hand area agrees with Yousry et al., Brain 1997;120:141. Corpus callosum, ventricles and deep white matter go
with the lobe beside them. Both sides are alike.
"""

from typing import Final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from metseg.core.lesion import REGIONS, Region

# The central sulcus on the surface from above down: z, and how far lateral and forward it lies there. Towards the depth
# it goes backwards.
_CENTRAL_Z: Final = (18, 28, 38, 47, 55, 65, 70, 80)
_CENTRAL_X: Final = (63, 60, 56, 48, 40, 30, 18, 8)
_CENTRAL_Y: Final = (-6, -8, -11, -15, -22, -28, -30, -33)
_BACKWARDS: Final = 0.5  # mm per mm of depth
# What lies above the temporal lobe, from back to front: the lateral fissure at the surface; in the depth the
# hippocampus and the temporal horn, the amygdala, the stem of the fissure. In front of y = 28 is no temporal lobe.
_LATERAL_Y: Final = (-40, -25, -10, 0, 10, 18, 26, 28)
_LATERAL_Z: Final = (21, 16, 8, 2, -3, -8, -15, -80)
_MEDIAL_Y: Final = (-45, -40, -33, -25, -10, 0, 5, 22, 26)
_MEDIAL_Z: Final = (1, 3, -1, -7, -10, -13, -18, -23, -80)
_POLE_Y: Final = 5.0  # in front of this
_POLE_X: Final = 18.0  # and nearer to the midline is no temporal lobe
_MEDIAL_X: Final = 25.0
_LATERAL_X: Final = 42.0
# The front of the occipital lobe, from below up: beside the midline, and at the side.
_OCCIPITAL_Z: Final = (-20, 0, 10, 25, 45)
_OCCIPITAL_MEDIAL_Y: Final = (-58, -58, -62, -71, -80)
_OCCIPITAL_LATERAL_Y: Final = (-63, -68, -70, -74, -79)
_OCCIPITAL_X: Final = (10.0, 45.0)
# The height of the tentorium: rows from back to front, columns from the midline to the side.
_TENT_Y: Final = (-85, -70, -55, -40, -30)
_TENT_X: Final = (0, 10, 20, 30, 40, 50)
_TENT_Z: Final = (
    (-18, -18, -19, -20, -21, -22),
    (-9, -12, -17, -19, -20, -22),
    (3, -6, -15, -21, -24, -27),
    (-8, -13, -20, -27, -31, -34),
    (-18, -22, -26, -31, -35, -38),
)
# Brainstem, from below up: its back, its front, its half width.
_STEM_Z: Final = (-75, -60, -50, -40, -30, -22, -12, -4)
_STEM_BACK: Final = (-52, -49, -46, -42, -41, -40, -40, -38)
_STEM_FRONT: Final = (-36, -31, -27, -15, -12, -11, -11, -13)
_STEM_WIDTH: Final = (9, 10, 13, 18, 20, 18, 17, 15)
# Insula, from back to front: its lower and its upper border.
_INSULA_Y: Final = (-25, -20, -10, 0, 20, 24, 27)
_INSULA_LOW: Final = (12, 6, -5, -13, -17, -10, -6)
_INSULA_HIGH: Final = (19, 19, 18, 16, 12, 9, 6)
_INSULA_X: Final = (29.0, 46.0)
# Basal ganglia and thalamus, from back to front: the half width of both, and of the thalamus alone.
_DEEP_Y: Final = (-34, -28, -20, 0, 12, 20, 25)
_DEEP_X: Final = (20, 24, 31, 31, 29, 24, 12)
_DEEP_Z: Final = (-11.0, 22.0)
_THALAMUS_Y: Final = (-34, -25, -5, -2)
_THALAMUS_X: Final = (22, 23, 11, 0)
_THALAMUS_Z: Final = -4.0


def region_numbers(points_mm: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
    """The part of the brain at each point (n, 3), RAS+ millimetres of the template, as an index into ``REGIONS``.

    Points outside the brain get that of the brain beside them.
    """
    x, y, z = np.abs(points_mm[:, 0]), points_mm[:, 1], points_mm[:, 2]
    tests = {
        "brainstem": _in_brainstem(x, y, z),
        "cerebellum": (z < _tentorium(x, y)) & (y < -30 - 0.55 * np.maximum(x - 25, 0)),
        "thalamus": _in_deep(x, y, z) & (x < np.interp(y, _THALAMUS_Y, _THALAMUS_X)) & (z > _THALAMUS_Z),
        "basal ganglia": _in_deep(x, y, z),
        "insula": _in_insula(x, y, z),
        "occipital lobe": y < _occipital_front(x, z),
        "temporal lobe": (z < _above_temporal(x, y)) & ((y < _POLE_Y) | (x > _POLE_X)),
        "parietal lobe": y < _central_sulcus(x, z),
    }
    numbers = [REGIONS.index(name) for name in tests]
    return np.select(list(tests.values()), numbers, REGIONS.index("frontal lobe"))


def region_shares(point_mm: Float[np.ndarray, " 3"], spread_mm: float) -> dict[Region, float]:
    """How likely each part is where the true point lies about ``point_mm``, by a normal distribution.

    Args:
        point_mm: RAS+ millimetres of the template.
        spread_mm: its standard deviation along each axis.

    Returns:
        The parts found, likeliest first; their shares sum to 1.
    """
    steps = np.arange(-5, 6) / 2.0  # in standard deviations
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    offsets = offsets[(offsets**2).sum(axis=1) <= 2.5**2]
    weights = np.exp(-0.5 * (offsets**2).sum(axis=1))
    found = np.bincount(region_numbers(point_mm + spread_mm * offsets), weights / weights.sum(), len(REGIONS))
    order = np.argsort(-found, kind="stable")
    return {REGIONS[n]: float(found[n]) for n in order if found[n] > 0}


Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def _tentorium(x: Array, y: Array) -> Array:
    """Its height, bilinear between the table's places and constant beyond."""
    rows = np.stack([np.interp(x, _TENT_X, row) for row in _TENT_Z])
    place = np.interp(y, _TENT_Y, np.arange(len(_TENT_Y)))
    low = np.minimum(place.astype(int), len(_TENT_Y) - 2)
    part, each = place - low, np.arange(len(x))
    return np.asarray((1 - part) * rows[low, each] + part * rows[low + 1, each])


def _in_brainstem(x: Array, y: Array, z: Array) -> Mask:
    behind, before = np.interp(z, _STEM_Z, _STEM_BACK), np.interp(z, _STEM_Z, _STEM_FRONT)
    return np.asarray((z < _STEM_Z[-1]) & (y > behind) & (y < before) & (x < np.interp(z, _STEM_Z, _STEM_WIDTH)))


def _in_deep(x: Array, y: Array, z: Array) -> Mask:
    inside = (y > _DEEP_Y[0]) & (y < _DEEP_Y[-1]) & (x < np.interp(y, _DEEP_Y, _DEEP_X))
    return np.asarray(inside & (z > _DEEP_Z[0]) & (z < _DEEP_Z[1] - 0.7 * np.maximum(x - 15, 0)))


def _in_insula(x: Array, y: Array, z: Array) -> Mask:
    inside = (y > _INSULA_Y[0]) & (y < _INSULA_Y[-1]) & (x > _INSULA_X[0]) & (x < _INSULA_X[1])
    return np.asarray(inside & (z > np.interp(y, _INSULA_Y, _INSULA_LOW)) & (z < np.interp(y, _INSULA_Y, _INSULA_HIGH)))


def _occipital_front(x: Array, z: Array) -> Array:
    medial, lateral = (np.interp(z, _OCCIPITAL_Z, each) for each in (_OCCIPITAL_MEDIAL_Y, _OCCIPITAL_LATERAL_Y))
    part = np.clip((x - _OCCIPITAL_X[0]) / (_OCCIPITAL_X[1] - _OCCIPITAL_X[0]), 0, 1)
    return np.asarray((1 - part) * medial + part * lateral - 0.5 * np.maximum(z - _OCCIPITAL_Z[-1], 0))


def _above_temporal(x: Array, y: Array) -> Array:
    medial, lateral = np.interp(y, _MEDIAL_Y, _MEDIAL_Z), np.interp(y, _LATERAL_Y, _LATERAL_Z)
    part = np.clip((x - _MEDIAL_X) / (_LATERAL_X - _MEDIAL_X), 0, 1)
    return np.asarray((1 - part) * medial + part * lateral)


def _central_sulcus(x: Array, z: Array) -> Array:
    surface_x, surface_y = np.interp(z, _CENTRAL_Z, _CENTRAL_X), np.interp(z, _CENTRAL_Z, _CENTRAL_Y)
    return np.asarray(np.maximum(surface_y + _BACKWARDS * (x - surface_x), -40))
