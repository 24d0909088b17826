"""Connected components of masks, as lists of voxels: their sizes, surfaces, neighbours, and which ones share voxels."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cc3d
import numpy as np
from jaxtyping import UInt
from numpy.typing import NDArray

from metseg.evaluate.elements import BITS, FULL, VOXELS
from metseg.evaluate.lattice import FACES, FACES_AND_EDGES, Box, Places

Ids = NDArray[np.int64]


def overlaps(
    prediction: UInt[np.ndarray, "i j k"], reference: UInt[np.ndarray, "i j k"]
) -> tuple[Ids, Ids, NDArray[np.int64]]:
    """Pairs of instances that share voxels.

    Args:
        prediction: instance numbers, 0 for background.
        reference: the same for the truth.

    Returns:
        For each pair the number of the predicted instance, of the reference's, and of the voxels they share; sorted
        by the first two.
    """
    both = (prediction > 0) & (reference > 0)
    return _count_pairs(prediction[both], reference[both])


def _count_pairs(first: NDArray[Any], second: NDArray[Any]) -> tuple[Ids, Ids, NDArray[np.int64]]:
    """The different pairs (first[n], second[n]) and how often each occurs."""
    base = int(second.max(initial=0)) + 1
    pairs, counts = np.unique(first.astype(np.int64) * base + second, return_counts=True)
    return pairs // base, pairs % base, counts


def number_by_first(values: NDArray[Any]) -> NDArray[np.uint32]:
    """A table that renumbers values from 1 in the order in which they first occur: ``table[old] == new``."""
    first = np.full(int(values.max(initial=0)) + 1, -1, dtype=np.int64)
    # Of repeated indices the last assignment stands, so going backwards leaves each value's first place.
    first[values[::-1]] = np.arange(len(values))[::-1]
    present = np.flatnonzero(first >= 0)
    table = np.zeros(first.size, dtype=np.uint32)
    table[present[np.argsort(first[present])]] = np.arange(1, present.size + 1, dtype=np.uint32)
    return table


@dataclass(frozen=True, eq=False)
class Points:
    """Places that belong to components, sorted by component.

    Args:
        places: in the components' box.
        starts: where each component's places start, by component number; one entry more at the end.
        codes: for corners, which of the eight voxels around are filled (``metseg.evaluate.elements``).
        deep: for corners, are all voxels around, and around the six neighbouring corners, filled?
    """

    places: Places
    starts: NDArray[np.int64]
    codes: NDArray[np.uint8]
    deep: NDArray[np.bool_]

    @classmethod
    def sort(cls, places: Places, owners: NDArray[Any], count: int, *more: NDArray[Any]) -> "Points":
        """The places, sorted by their component."""
        order = np.argsort(owners, kind="stable")
        starts = np.searchsorted(owners[order], np.arange(count + 2))
        codes, deep = more or (np.zeros(len(places), np.uint8), np.zeros(len(places), np.bool_))
        return cls(places[order], starts, codes[order], deep[order])

    def of(self, components: Iterable[int]) -> NDArray[np.int64]:
        """Which entries belong to some of the components."""
        parts = [np.arange(self.starts[n], self.starts[n + 1]) for n in components]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Components:
    """The 26-connected components of a mask.

    Args:
        box: where the mask lies.
        places: of the mask's voxels, increasing.
        ids: the component of each voxel; numbered from 1 by their first voxel in the order i, then j, then k.
        count: of components.
    """

    box: Box
    places: Places
    ids: NDArray[np.uint32]
    count: int

    @classmethod
    def of(cls, box: Box, places: Places) -> "Components":
        """The components of the mask that fills ``places``."""
        labels = _label(box, places)[places]
        ids = number_by_first(labels)[labels]
        return cls(box, places, ids, int(ids.max(initial=0)))

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Number of voxels, by component number; entry 0 is 0."""
        return np.bincount(self.ids, minlength=self.count + 1)

    @cached_property
    def numbers(self) -> NDArray[np.uint32]:
        """The component numbers themselves, by component number; entry 0 is 0."""
        return np.arange(self.count + 1, dtype=np.uint32)

    @cached_property
    def by_first_in_k(self) -> NDArray[np.uint32]:
        """Other numbers, by component number: by the first voxel in the order k, then j, then i; entry 0 is 0."""
        i, j, k = np.unravel_index(self.places, self.box.shape)
        return number_by_first(self.ids[np.lexsort((i, j, k))])

    def map(self) -> NDArray[np.uint32]:
        """The flat array of the box with each voxel's component number."""
        flat = self.box.zeros(np.uint32)
        flat[self.places] = self.ids
        return flat

    @cached_property
    def merged(self) -> NDArray[np.uint32]:
        """The lesion of each component, by component number; entry 0 is 0.

        The mask is dilated once with the 18-neighbourhood; components inside one 26-connected component of that are
        one lesion. Lesions are numbered by the first voxel of what is dilated, in the order i, then j, then k.
        """
        dilated = self.box.zeros(np.uint8)
        dilated[self.places] = 1
        for step in FACES_AND_EDGES:
            dilated[self.border.places + self.box.step(step)] = 1
        self.box.clear_layer(dilated)  # what lies there lies out of the volume
        places = np.flatnonzero(dilated.view(np.bool_))
        labels = _label(self.box, places)
        lesions = np.zeros(self.count + 1, dtype=np.uint32)
        lesions[self.ids] = number_by_first(labels[places])[labels[self.places]]
        return lesions

    @cached_property
    def border(self) -> Points:
        """The border voxels: those with an empty voxel among their six neighbours."""
        filled = self.box.zeros(np.bool_)
        filled[self.places] = True
        inside = np.ones(len(self.places), dtype=np.bool_)
        for step in FACES:
            inside &= filled[self.places + self.box.step(step)]
        return Points.sort(self.places[~inside], self.ids[~inside], self.count)

    @cached_property
    def corners(self) -> Points:
        """The corners of the voxels, with their codes. The corner at a place lies before the voxel at that place."""
        codes, ids = self.box.zeros(np.uint8), self.map()
        steps = [self.box.step((1 - i, 1 - j, 1 - k)) for i, j, k in VOXELS]
        for bit, step in zip(BITS, steps):
            codes[self.places + step] += np.uint8(bit)
        corners = np.flatnonzero(codes != 0)
        # Voxels around one corner touch, so they belong to one component.
        owners = np.max([ids[corners - step] for step in steps], axis=0)
        deep = codes[corners] == FULL
        within = corners[deep]
        deep[deep] = np.all([codes[within + self.box.step(step)] == FULL for step in FACES], axis=0)
        return Points.sort(corners, owners, self.count, codes[corners], deep)

    @cached_property
    def elements(self) -> Points:
        """The surface elements: corners with filled and empty voxels around."""
        hollow = self.corners.codes != FULL
        owners = np.repeat(np.arange(self.count + 1), np.diff(self.corners.starts))
        kept = self.corners.codes[hollow], self.corners.deep[hollow]
        return Points.sort(self.corners.places[hollow], owners[hollow], self.count, *kept)


def _label(box: Box, places: Places) -> NDArray[np.uint32]:
    """Some number for each 26-connected component, as a flat array of the box."""
    if not len(places):
        return box.zeros(np.uint32)
    mask = box.zeros(np.uint8)
    mask[places] = 1
    # cc3d may number in uint16, which overflows on noise.
    labels = cc3d.connected_components(mask.reshape(box.shape), connectivity=26, out_dtype=np.uint32)
    return np.asarray(labels, dtype=np.uint32).ravel()


def shared_voxels(one: Components, other: Components) -> tuple[Ids, Ids, NDArray[np.int64]]:
    """Pairs of components of two masks that share voxels, and how many. As ``overlaps``."""
    _, first, second = np.intersect1d(one.places, other.places, assume_unique=True, return_indices=True)
    return _count_pairs(one.ids[first], other.ids[second])


def contacts(one: Components, other: Components) -> tuple[Ids, Ids]:
    """Pairs of components of two masks that share voxels or touch in the 18-neighbourhood (a face or an edge)."""
    ids = other.map()
    # A voxel that touches a mask from outside touches its border.
    border = one.border
    owners = np.repeat(np.arange(one.count + 1), np.diff(border.starts))
    found = [(one.ids, ids[one.places])] + [(owners, ids[border.places + one.box.step(s)]) for s in FACES_AND_EDGES]
    pairs = [_count_pairs(first[second > 0], second[second > 0])[:2] for first, second in found]
    first, second, _ = _count_pairs(*(np.concatenate(side) for side in zip(*pairs)))
    return first, second
