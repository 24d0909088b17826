"""A prediction and a reference, prepared once for every score: regions, components, what touches, how far apart."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import InputError
from metseg.evaluate.distances import BorderDistances, ElementDistances, Spacing, nearest_distances
from metseg.evaluate.elements import FULL, element_areas
from metseg.evaluate.inputs import check_shapes
from metseg.evaluate.instances import Components, Points, contacts, shared_voxels
from metseg.evaluate.lattice import Box, Places, common_box
from metseg.evaluate.regions import OFFICIAL, check_labels

Ids = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class RegionPair:
    """One region of a prediction and of a reference, and what has been found out about it.

    Args:
        prediction: its components.
        reference: the same of the truth, in the same box.
        spacing_mm: along i, j, k.
        volume_voxels: number of voxels of the whole volume.
    """

    prediction: Components
    reference: Components
    spacing_mm: Spacing
    volume_voxels: int
    _of_elements: dict[tuple[Ids, Ids], ElementDistances] = field(default_factory=dict, repr=False)
    _of_borders: dict[tuple[Ids, Ids, Spacing], BorderDistances] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, box: Box, predicted: Places, present: Places, spacing_mm: Spacing, volume_voxels: int) -> "RegionPair":
        """From the places that the prediction and the reference fill."""
        return cls(Components.of(box, predicted), Components.of(box, present), spacing_mm, volume_voxels)

    @cached_property
    def shared(self) -> dict[tuple[int, int], int]:
        """Number of voxels that a reference and a predicted component share, where there are any."""
        predicted, present, voxels = shared_voxels(self.prediction, self.reference)
        return dict(zip(zip(present.tolist(), predicted.tolist()), voxels.tolist()))

    @cached_property
    def touching(self) -> dict[int, set[int]]:
        """The predicted components that each reference component shares voxels with or touches by a face or edge."""
        found: dict[int, set[int]] = defaultdict(set)
        for present, predicted in zip(*(side.tolist() for side in contacts(self.reference, self.prediction))):
            found[present].add(predicted)
        return found

    @cached_property
    def everything(self) -> tuple[Ids, Ids]:
        """All components of the reference and of the prediction."""
        return tuple(range(1, self.reference.count + 1)), tuple(range(1, self.prediction.count + 1))

    def voxels(self, present: Ids, predicted: Ids) -> tuple[int, int, int]:
        """Number of voxels of some components of the reference, of some of the prediction, and of both at once."""
        if len(present) * len(predicted) <= len(self.shared):
            both = sum(self.shared.get((one, other), 0) for one in present for other in predicted)
        else:
            ones, others = set(present), set(predicted)
            both = sum(voxels for (one, other), voxels in self.shared.items() if one in ones and other in others)
        return int(self.reference.sizes[list(present)].sum()), int(self.prediction.sizes[list(predicted)].sum()), both

    def dice(self, present: Ids, predicted: Ids) -> float:
        """Dice's coefficient of some components; NaN where both are empty."""
        reference, prediction, both = self.voxels(present, predicted)
        return 2 * both / (reference + prediction) if reference + prediction else float("nan")

    def element_distances(self, present: Ids, predicted: Ids) -> ElementDistances:
        """Distances between the surface elements of some components of the reference and of the prediction."""
        key = present, predicted
        if key not in self._of_elements:
            reference, prediction = self.reference.elements, self.prediction.elements
            a, b = reference.of(present), prediction.of(predicted)
            self._of_elements[key] = self._elements(
                (reference.places[a], reference.codes[a], None), (prediction.places[b], prediction.codes[b], None)
            )
        return self._of_elements[key]

    def numbered_element_distances(
        self, present: NDArray[np.uint32], predicted: NDArray[np.uint32]
    ) -> ElementDistances:
        """The same between all surface elements, as 8-bit arithmetic sees maps of lesion numbers instead of masks.

        Args:
            present: the lesion number of each component of the reference, by component number; 0 drops it.
            predicted: the same for the prediction.
        """
        return self._elements(_numbered(self.reference, present), _numbered(self.prediction, predicted))

    def border_distances(self, present: Ids, predicted: Ids, spacing_mm: Spacing) -> BorderDistances:
        """Distances between the border voxels of some components of the reference and of the prediction."""
        key = present, predicted, spacing_mm
        if key not in self._of_borders:
            box, reference, prediction = self.reference.box, self.reference.border, self.prediction.border
            a, b = reference.places[reference.of(present)], prediction.places[prediction.of(predicted)]
            there, back = nearest_distances(box, a, b, spacing_mm), nearest_distances(box, b, a, spacing_mm)
            self._of_borders[key] = BorderDistances(there, back)
        return self._of_borders[key]

    def _elements(self, reference: "_Elements", prediction: "_Elements") -> ElementDistances:
        areas, box = element_areas(self.spacing_mm), self.reference.box
        there = nearest_distances(box, reference[0], prediction[0], self.spacing_mm, prediction[2])
        back = nearest_distances(box, prediction[0], reference[0], self.spacing_mm, reference[2])
        return ElementDistances.sort((there, areas[reference[1]]), (back, areas[prediction[1]]))


_Elements = tuple[Places, NDArray[np.uint8], NDArray[np.bool_] | None]


def _numbered(components: Components, numbers: NDArray[np.uint32]) -> _Elements:
    """Places, codes and depths of the corners whose code, times the lesion's number, is neither 0 nor 255."""
    corners: Points = components.corners
    factors = np.repeat(numbers.astype(np.uint8), np.diff(corners.starts))
    codes = corners.codes * factors  # uint8 times uint8: the remainder after division by 256
    kept = (codes != 0) & (codes != FULL)
    return corners.places[kept], codes[kept], corners.deep[kept]


@dataclass(frozen=True, eq=False)
class Case:
    """A predicted and a reference label map, prepared for all profiles.

    Args:
        shape: of the volume.
        spacing_mm: along i, j, k.
        pairs: by region.
    """

    shape: tuple[int, ...]
    spacing_mm: Spacing
    pairs: Mapping[str, RegionPair]

    @classmethod
    def of(
        cls,
        prediction: NDArray[Any],
        reference: NDArray[Any],
        spacing_mm: Iterable[float],
        *,
        regions: Mapping[str, tuple[int, ...]] = OFFICIAL,
    ) -> "Case":
        """Find the components of every region; of regions that are the same, once.

        Args:
            prediction: label values (i, j, k).
            reference: the same of the truth.
            spacing_mm: along i, j, k.
            regions: the label values of each; ``regions.BINARY`` for masks.

        Raises:
            InputError: shapes that differ, a spacing that is not three positive numbers, or label values that no
                region has.
        """
        check_shapes(prediction=prediction, reference=reference)
        spacing = check_spacing(spacing_mm)
        box, (predicted, present) = common_box(prediction, reference)
        check_labels(predicted.values, regions, "prediction")
        check_labels(present.values, regions, "reference")
        pairs: dict[str, RegionPair] = {}
        for name, labels in regions.items():
            places = predicted.of(labels), present.of(labels)
            same = [pair for pair in pairs.values() if _fills(pair, *places)]
            pairs[name] = same[0] if same else RegionPair.of(box, *places, spacing, prediction.size)
        return cls(prediction.shape, spacing, pairs)


def _fills(pair: RegionPair, predicted: Places, present: Places) -> bool:
    return np.array_equal(pair.prediction.places, predicted) and np.array_equal(pair.reference.places, present)


def check_spacing(spacing_mm: Iterable[float]) -> Spacing:
    """The spacing as three numbers.

    Raises:
        InputError: it is not three positive lengths.
    """
    spacing = tuple(float(length) for length in spacing_mm)
    if len(spacing) != 3 or not all(0 < length < float("inf") for length in spacing):
        raise InputError(f"A spacing needs three positive lengths in mm, but is {spacing}.")
    return spacing[0], spacing[1], spacing[2]
