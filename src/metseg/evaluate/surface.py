"""How far apart the surfaces of two masks are, in the three conventions in use. They are not comparable.

- Surface elements (``element_nsd``, ``hd95``, ``hd100``): a marching-cubes surface on the lattice of voxel corners,
  each element weighted by its area. NSD is the share of both areas together that lies within the tolerance of the
  other surface; HD95 the distance that 95 % of the area do not exceed, in each direction, the larger one.
  Nikolov et al. 2018, arXiv:1809.04430; Google DeepMind's surface-distance.
- Border voxels, by direction (``border_nsd``): voxels with an empty one among their six neighbours. NSD is the mean of
  the shares of both borders that lie within the tolerance of the other. nnU-Net, MedPy, panoptica.
- Border voxels, pooled (``pooled_hd95``): the 95th percentile, interpolated, of both directions' distances together.
  MedPy, panoptica.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from metseg.evaluate.distances import BorderDistances, ElementDistances, ratio
from metseg.evaluate.inputs import check_shapes
from metseg.evaluate.lattice import common_box
from metseg.evaluate.pair import RegionPair, check_spacing


def region_pair(a: Bool[np.ndarray, "i j k"], b: Bool[np.ndarray, "i j k"], spacing_mm: Iterable[float]) -> RegionPair:
    """Two masks, prepared for any of the scores; ``a`` as the prediction, ``b`` as the reference.

    Raises:
        InputError: shapes that differ, or a spacing that is not three positive numbers.
    """
    check_shapes(prediction=a, reference=b)
    spacing = check_spacing(spacing_mm)
    box, (predicted, present) = common_box(a, b)
    return RegionPair.of(box, predicted.places, present.places, spacing, a.size)


def _elements(a: NDArray[Any], b: NDArray[Any], spacing_mm: Iterable[float]) -> ElementDistances:
    pair = region_pair(a, b, spacing_mm)
    return pair.element_distances(*pair.everything)


def _border(a: NDArray[Any], b: NDArray[Any], spacing_mm: Iterable[float]) -> BorderDistances:
    pair = region_pair(a, b, spacing_mm)
    return pair.border_distances(*pair.everything, pair.spacing_mm)


def element_nsd(
    a: Bool[np.ndarray, "i j k"], b: Bool[np.ndarray, "i j k"], spacing_mm: Iterable[float], tolerance_mm: float
) -> float:
    """Normalised surface Dice of surface elements: 0 where one mask is empty, NaN where both are."""
    return _elements(a, b, spacing_mm).nsd(tolerance_mm)


def border_nsd(
    a: Bool[np.ndarray, "i j k"], b: Bool[np.ndarray, "i j k"], spacing_mm: Iterable[float], tolerance_mm: float
) -> float:
    """Normalised surface Dice of border voxels: 0 where one mask is empty, NaN where both are."""
    return _border(a, b, spacing_mm).nsd(tolerance_mm)


def hd95(a: Bool[np.ndarray, "i j k"], b: Bool[np.ndarray, "i j k"], spacing_mm: Iterable[float]) -> float:
    """95 % Hausdorff distance in mm of surface elements: infinite where one mask is empty, NaN where both are."""
    return _hausdorff(_elements(a, b, spacing_mm), 95)


def hd100(a: Bool[np.ndarray, "i j k"], b: Bool[np.ndarray, "i j k"], spacing_mm: Iterable[float]) -> float:
    """Hausdorff distance in mm of surface elements: infinite where one mask is empty, NaN where both are."""
    return _hausdorff(_elements(a, b, spacing_mm), 100)


def _hausdorff(distances: ElementDistances, percent: float) -> float:
    return distances.hausdorff(percent) if sum(distances.areas) else float("nan")


def pooled_hd95(a: Bool[np.ndarray, "i j k"], b: Bool[np.ndarray, "i j k"], spacing_mm: Iterable[float]) -> float:
    """95 % Hausdorff distance in mm of border voxels: infinite where one mask is empty, NaN where both are."""
    return _border(a, b, spacing_mm).hd95()


def surface_block(
    prediction_mask: Bool[np.ndarray, "i j k"],
    reference_mask: Bool[np.ndarray, "i j k"],
    spacing_mm: Iterable[float],
) -> dict[str, float]:
    """Voxel counts, Dice and the scores of surface elements of one region, as surface-distance gives them.

    Where both masks are empty its HD95 and HD100 are infinite and the rest NaN.

    Raises:
        InputError: shapes that differ, or a spacing that is not three positive numbers.
    """
    return block_of(region_pair(prediction_mask, reference_mask, spacing_mm))


def block_of(pair: RegionPair) -> dict[str, float]:
    """The same for a region that has been prepared."""
    present, predicted, both = pair.voxels(*pair.everything)
    distances = pair.element_distances(*pair.everything)
    near, areas, means = distances.within(1.0), distances.areas, distances.means()
    return {
        "voxels_ref": present,
        "voxels_pred": predicted,
        "voxels_intersection": both,
        "voxel_dice": pair.dice(*pair.everything),
        "nsd_1mm": distances.nsd(1.0),
        "nsd_0.5mm": distances.nsd(0.5),
        "surface_overlap_1mm_ref": ratio(near[0], areas[0]),
        "surface_overlap_1mm_pred": ratio(near[1], areas[1]),
        "hd95": distances.hausdorff(95),
        "hd100": distances.hausdorff(100),
        "avg_surface_distance_ref_to_pred": means[0],
        "avg_surface_distance_pred_to_ref": means[1],
        "library_dice": pair.dice(*pair.everything),
    }
