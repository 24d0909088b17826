"""Distances between two surfaces, and what is made of them: Hausdorff distances and normalised surface Dice."""

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from metseg.evaluate.lattice import Box, Places

Array = NDArray[np.float64]
Spacing = tuple[float, float, float]
# Of fewer points those that coincide are not worth looking for.
_FEW = 5000


def ratio(numerator: float, denominator: float) -> float:
    """Their quotient; NaN for 0/0."""
    return float(numerator) / float(denominator) if denominator else float("nan")


def _to_nearest(of: NDArray[np.int64], to: NDArray[np.int64], spacing_mm: Spacing) -> Array:
    # Points of a lattice are spread evenly: halving the space does as well as halving the points, and is quicker.
    tree = cKDTree(to * spacing_mm, balanced_tree=False, compact_nodes=False)
    _, nearest = tree.query(of * spacing_mm)
    # From whole steps, as a distance transform has it: equal distances come out equal to the last digit.
    steps = (to[nearest] - of) * np.asarray(spacing_mm)
    steps *= steps
    return np.asarray(np.sqrt(steps[:, 0] + steps[:, 1] + steps[:, 2]))


def nearest_distances(
    box: Box, of: Places, to: Places, spacing_mm: Spacing, deep: NDArray[np.bool_] | None = None
) -> Array:
    """Distance in mm of each point to the nearest of some other points; infinite where there are none.

    Args:
        box: whose places the points are.
        of: where to measure from.
        to: where to measure to.
        spacing_mm: along i, j, k.
        deep: those of ``to`` whose six neighbours are in ``to`` as well: never the nearest of a point elsewhere.
    """
    if not len(to) or not len(of):
        return np.full(len(of), np.inf)
    if len(of) + len(to) < _FEW:
        return _to_nearest(box.indices(of), box.indices(to), spacing_mm)
    there = box.zeros(np.bool_)
    there[to] = True
    apart = ~there[of]
    distances = np.zeros(len(of))
    if apart.any():
        targets = to if deep is None else to[~deep]
        distances[apart] = _to_nearest(box.indices(of[apart]), box.indices(targets), spacing_mm)
    return distances


def _percentile(distances: Array, areas: Array, percent: float) -> float:
    """The distance that so many per cent of the area do not exceed; infinite where there is no surface."""
    if not len(distances):
        return float("inf")
    shares = np.cumsum(areas) / np.sum(areas)
    return float(distances[min(int(np.searchsorted(shares, percent / 100)), len(distances) - 1)])


@dataclass(frozen=True, eq=False)
class ElementDistances:
    """Distances in mm between surface elements and their areas in mm², of both directions, sorted by distance."""

    from_reference: Array
    areas_reference: Array
    from_prediction: Array
    areas_prediction: Array

    @classmethod
    def sort(cls, reference: tuple[Array, Array], prediction: tuple[Array, Array]) -> "ElementDistances":
        """From distances and areas of each side: sorted by distance, then by area."""
        (first, second), (third, fourth) = (
            (distances[order], areas[order])
            for distances, areas in (reference, prediction)
            for order in [np.lexsort((areas, distances))]
        )
        return cls(first, second, third, fourth)

    def hausdorff(self, percent: float) -> float:
        """The percentile of the distances, weighted by area, in each direction; the larger one. Infinite if empty."""
        return max(
            _percentile(self.from_reference, self.areas_reference, percent),
            _percentile(self.from_prediction, self.areas_prediction, percent),
        )

    def within(self, tolerance_mm: float) -> tuple[float, float]:
        """The area in mm² of the reference's and of the prediction's surface that lies near the other one."""
        near_reference = self.areas_reference[self.from_reference <= tolerance_mm]
        near_prediction = self.areas_prediction[self.from_prediction <= tolerance_mm]
        return float(np.sum(near_reference)), float(np.sum(near_prediction))

    @property
    def areas(self) -> tuple[float, float]:
        """The area in mm² of the reference's and of the prediction's surface."""
        return float(np.sum(self.areas_reference)), float(np.sum(self.areas_prediction))

    def nsd(self, tolerance_mm: float) -> float:
        """Share of both surfaces' area that lies near the other one; NaN if both are empty."""
        return ratio(sum(self.within(tolerance_mm)), sum(self.areas))

    def means(self) -> tuple[float, float]:
        """Mean distance from the reference's and from the prediction's surface, weighted by area."""
        return (
            ratio(float(np.sum(self.from_reference * self.areas_reference)), self.areas[0]),
            ratio(float(np.sum(self.from_prediction * self.areas_prediction)), self.areas[1]),
        )


@dataclass(frozen=True, eq=False)
class BorderDistances:
    """Distances in mm between border voxels, of both directions."""

    from_reference: Array
    from_prediction: Array

    def hd95(self) -> float:
        """95th percentile, interpolated, of both directions pooled. Infinite if one is empty, NaN if both are."""
        if not len(self.from_reference) or not len(self.from_prediction):
            return float("inf") if len(self.from_reference) + len(self.from_prediction) else float("nan")
        return float(np.percentile(np.concatenate((self.from_reference, self.from_prediction)), 95))

    def nsd(self, tolerance_mm: float, added: float = sys.float_info.min) -> float:
        """Mean of the two shares of border voxels that lie near the other border; NaN if both are empty.

        Args:
            tolerance_mm: what is near.
            added: to the denominator; the official codes do so.
        """
        if not len(self.from_reference) or not len(self.from_prediction):
            return 0.0 if len(self.from_reference) + len(self.from_prediction) else float("nan")
        sides = self.from_reference, self.from_prediction
        near = sum(np.mean(side <= tolerance_mm) for side in sides)
        far = [np.mean(side > tolerance_mm) for side in sides]
        return float(near / (near + far[0] + far[1] + added))
